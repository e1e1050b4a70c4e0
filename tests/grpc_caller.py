"""A gRPC client that says whatever it is told to, and methods that do what it takes to see what becomes of it."""

from functools import partial

from http2_peer import Peer, body

from server.rpc.calls import Streaming, Unary
from server.rpc.framing import prefix
from server.rpc.http2 import frames
from server.rpc.opening import read_opening

CALL = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/service/Echo"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
]
LIMIT = 500_000


def headers(**changed):
    """Those of a call, with some of them changed, added or (None) left out."""
    names = {name.replace("_", "-").encode(): value for name, value in changed.items()}
    control = {b"method": b":method", b"path": b":path"}
    names = {control.get(name, name): value for name, value in names.items()}
    kept = [(name, names.pop(name, value)) for name, value in CALL]
    return [(name, value) for name, value in [*kept, *names.items()] if value is not None]


WAIT = headers(path=b"/service/Wait")
STREAM = headers(path=b"/service/Stream")


def message(data=b"hello"):
    return prefix(data) + data


class Echoes:
    """A receiver that gives everything back."""

    def __init__(self, calls, call):
        self.call = call
        self.heard = []
        self.over = None
        calls.append(self)

    def message(self, data):
        self.heard.append(data)
        self.call.send(data)

    def ended(self):
        self.over = "ended"
        self.call.close()

    def resume(self):
        self.heard.append("resume")

    def cancel(self):
        self.over = "cancelled"


class Pending:
    """A unary call that is not answered yet."""

    def __init__(self, calls, data, call):
        self.call, self.data = call, data
        self.cancelled = False
        calls.append(self)

    def cancel(self):
        self.cancelled = True


def methods(calls):
    """Two unary methods and a stream; `Wait` and `Stream` leave their calls in `calls`."""
    return {
        b"/service/Echo": Unary(lambda data, call: call.answer(data)),
        b"/service/Wait": Unary(partial(Pending, calls)),
        b"/service/Stream": Streaming(partial(Echoes, calls)),
    }


class Caller(Peer):
    """A client of these methods."""

    def __init__(self, asks=None):
        self.calls = []
        super().__init__(partial(read_opening, methods=methods(self.calls), limit=LIMIT), asks=asks)

    def headers(self, stream, headers=CALL, *, ends=False):
        return super().headers(stream, headers, ends=ends)

    def call(self, stream, data=b"", given=CALL):
        return self.headers(stream, given) + body(stream, data, ends=True)

    def outcome(self, stream=1):
        """(headers of any block, messages) of a stream that has ended, or its RST_STREAM's code."""
        fields, data, ended = {}, b"", False
        for each in self.heard():
            if each.stream != stream:
                continue
            if each.kind == frames.HEADERS:
                fields |= dict(self.decoder.decode(each.payload, raw=True))
                ended = ended or bool(each.flags & frames.END_STREAM)
            elif each.kind == frames.DATA:
                data += each.payload
            elif each.kind == frames.RST_STREAM and not ended:
                return each.code
        assert ended, "it has not ended"
        return fields, data
