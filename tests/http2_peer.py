"""A client that says whatever it is told to, to a connection without a socket."""

from typing import NamedTuple

from hpack import Decoder, Encoder

from server.rpc.http2 import frames
from server.rpc.http2.connection import Connection
from server.rpc.http2.errors import Code
from server.rpc.http2.frames import frame, window_update  # noqa: F401 - for those who use the peer
from server.rpc.http2.headers import Block
from server.rpc.http2.request import read_request
from server.rpc.http2.settings import settings
from server.rpc.http2.stream import Stream

REQUEST = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/echo"), (b":authority", b"here")]
HEAD = Block([(b":status", b"200")])
TAIL = Block([(b"said", b"all")], ends=True)


class Frame(NamedTuple):
    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def code(self):
        """Of a RST_STREAM or a GOAWAY."""
        return Code(int.from_bytes(self.payload[-4:] if self.kind == frames.RST_STREAM else self.payload[4:8], "big"))


def parse(data):
    """All frames in `data`."""
    found, at = [], 0
    while at < len(data):
        upper, lower, kind, flags, stream = frames.HEAD.unpack_from(data, at)
        stop = at + 9 + (upper << 8 | lower)
        assert stop <= len(data), "half a frame was sent"
        found.append(Frame(kind, flags, stream, data[at + 9 : stop]))
        at = stop
    return found


class Echo(Stream):
    """Answers with what it was sent, once that has ended."""

    __slots__ = ("gone", "seen")

    def __init__(self, connection, number):
        super().__init__(connection, number)
        self.seen = b""
        self.gone = False

    def received(self, data, start, stop, ended):
        self.seen += data[start:stop]
        self.ended = bool(ended)
        if ended and self.connection.outbox.answer(self, HEAD, b"", self.seen, TAIL):
            self.connection.finished(self)

    def lost(self):
        self.gone = True


class Silent(Echo):
    """Never answers."""

    __slots__ = ()

    def received(self, data, start, stop, ended):
        self.seen += data[start:stop]
        self.ended = bool(ended)


class Opens:
    """An opening of streams of one kind."""

    def __init__(self, kind):
        self.begin = kind


def interpreter(kind=Echo):
    def interpret(headers):
        read_request(headers)
        return Opens(kind)

    return interpret


class Peer:
    """`say` frames, then look at what was `heard` since the last time."""

    def __init__(self, interpret=None, *, greeted=True, room=1 << 20, asks=None):
        self.connection = Connection(interpret or interpreter(), lambda: None, room)
        self.encoder, self.decoder = Encoder(), Decoder()
        if greeted:
            self.connection.greet()
            self.say(frames.PREFACE, settings(asks or {}))
            self.greeting = self.heard()

    def say(self, *said):
        self.connection.receive(b"".join(said))
        while self.connection.reader.behind:
            self.connection.receive(b"")
        return self

    def heard(self):
        pieces = self.connection.outbox.pieces
        data = b"".join(pieces)
        pieces.clear()
        return parse(data)

    def block(self, headers=REQUEST):
        return self.encoder.encode(headers)

    def headers(self, stream, headers=REQUEST, *, ends=False):
        flags = frames.END_HEADERS | (frames.END_STREAM if ends else 0)
        return frame(frames.HEADERS, flags, stream, self.block(headers))

    def call(self, stream, data=b"hello"):
        """A whole request."""
        return self.headers(stream) + body(stream, data, ends=True)

    def answers(self, heard=None):
        """Stream -> what it was answered, of those that were answered to the end."""
        found, ended = {}, set()
        for each in self.heard() if heard is None else heard:
            if each.kind == frames.DATA:
                found[each.stream] = found.get(each.stream, b"") + each.payload
            if each.flags & frames.END_STREAM and each.kind in (frames.DATA, frames.HEADERS):
                ended.add(each.stream)
        return {stream: data for stream, data in found.items() if stream in ended}


def body(stream, data=b"hello", *, ends=False):
    return frame(frames.DATA, frames.END_STREAM if ends else 0, stream, data)


def reset(stream, code=Code.CANCEL):
    return frames.reset(stream, code)


def asked(**values):
    """SETTINGS by name."""
    from server.rpc.http2 import settings as names

    return settings({getattr(names, name.upper()): value for name, value in values.items()})
