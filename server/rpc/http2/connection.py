"""One HTTP/2 connection, seen from the server: bytes in, streams and the outbox's pieces out.

    bytes -> Reader -> HEADERS -> Blocks -> an opening, which begins a Stream <- DATA
                    -> windows, settings, resets, pings (`control`)

Receives bytes from whoever has the socket. Invariants: 1. A peer that breaks the rules hears GOAWAY with the reason,
once, and `over` is true. 2. What is held of a peer's bytes is bounded: a frame, a block of headers, and a window (or a
grant) for each of `MAX_STREAMS`. 3. Streams leave `streams` when both sides have ended or one has reset them; what
still comes for them then is dropped. It knows no time: `second` is called once in one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from server.rpc.http2 import control, frames
from server.rpc.http2.errors import Answered, Code, ConnectionFault, StreamFault
from server.rpc.http2.frames import STREAM_BITS
from server.rpc.http2.goodwill import ANSWERED, IDLE_FRAME, REFUSED, Goodwill
from server.rpc.http2.grants import Grants
from server.rpc.http2.headers import Blocks, Headers
from server.rpc.http2.outbox import Outbox
from server.rpc.http2.reader import Reader
from server.rpc.http2.settings import (
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_HEADER_LIST_SIZE,
    MAX_WINDOW,
    ROOM,
    WINDOW,
    settings,
)
from server.rpc.http2.stream import Stream

MAX_STREAMS: Final = 512
MAX_HEADERS_BYTES: Final = 16 << 10
"""What clients are told; what is longer than `headers.MAX_LIST_BYTES` ends the connection."""
_REMEMBERED: Final = 256
"""Streams we have ended before the peer: what it had on its way for them is no fault."""
_GREETING: Final = settings(
    {MAX_CONCURRENT_STREAMS: MAX_STREAMS, INITIAL_WINDOW_SIZE: ROOM, MAX_HEADER_LIST_SIZE: MAX_HEADERS_BYTES}
) + frames.window_update(0, MAX_WINDOW - WINDOW)


class Opening(Protocol):
    """What a list of request headers means: the way a stream begins."""

    def begin(self, connection: Connection, number: int) -> Stream:
        """The stream for a request whose headers say this."""
        ...


_ROOM: Final = MAX_WINDOW >> 1
"""Bytes until the window of the connection is widened again; it is twice as wide."""
_NOTHING: Final[dict[bytes, Opening]] = {}
_NOBODY: Final[dict[int, None]] = {}


class Connection:
    """`interpret` makes openings of headers, or raises StreamFault. `room` is for unfinished messages of all streams.

    Call `greet` first, `receive` with whatever comes, `second` every second, `lost` at the end.
    """

    __slots__ = (
        "_blocks", "_dropped", "_interpret", "goodwill", "grants", "heard", "known", "last_taken", "latest", "outbox",
        "over", "reader", "room", "settled", "streams", "young",
    )  # fmt: skip

    def __init__(self, interpret: Callable[[Headers], Opening], wake: Callable[[], None], room: int) -> None:
        self._interpret = interpret
        self.outbox = Outbox(wake)
        self.grants = Grants(room)
        self.goodwill = Goodwill()
        self.streams: dict[int, Stream] = {}
        self.latest = self.young = 0
        """The latest stream, and the latest at the last second."""
        self.last_taken = STREAM_BITS
        """Streams after it are not taken any more."""
        self.over = False
        self.heard = False
        """Something came since this was last set to false."""
        self.settled = False
        """The peer's first frame has come."""
        self.reader = Reader(self)
        self._blocks: Blocks[Opening] | None = None  # most of an idle connection's memory
        self.known: Mapping[bytes, Opening] = _NOTHING
        """Blocks of headers whose openings are known."""
        self._dropped: dict[int, None] = _NOBODY
        self.room = _ROOM

    def greet(self) -> None:
        """Say what we take."""
        self.outbox.control(_GREETING)

    def receive(self, data: bytes) -> None:
        """Bytes have come from the peer."""
        self.heard = True
        if self.over:
            self.reader.behind = False
            return
        try:
            self.reader.read(data)
        except ConnectionFault as fault:
            self.end(fault.code, str(fault))

    # -- for the reader ---------------------------------------------------------------------------------------------

    def may_begin(self, number: int) -> bool:
        """Whether a stream of this number is one that usually comes next."""
        return self.latest < number <= self.last_taken and number & 1 == 1 and len(self.streams) < MAX_STREAMS

    def unusual_data(self, number: int, size: int) -> Stream | None:
        """The stream that takes this DATA, if one does. Raises ConnectionFault."""
        stream = self.streams.get(number)
        if stream is None:
            self._gone("DATA", number)
        elif stream.ended:
            self.blame(stream, Code.STREAM_CLOSED)
        elif size > stream.room:
            self.blame(stream, Code.FLOW_CONTROL_ERROR)
        else:
            return stream
        return None

    def make_room(self) -> None:
        """Let the peer send on, on whatever stream. A window as large as can be bounds nothing, and need not."""
        if self.room < 0:
            self.outbox.control(frames.window_update(0, _ROOM - self.room))
            self.room = _ROOM

    def _gone(self, name: str, number: int) -> None:
        """Something has come for a stream that is not there. Raises ConnectionFault if it never was."""
        if number == 0 or number > self.latest or not number & 1:
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"{name} for stream {number}, which never began")
        self.goodwill.spend(IDLE_FRAME, "frames for streams that are gone")
        if number not in self._dropped and number <= self.last_taken:
            self.outbox.control(frames.reset(number, Code.STREAM_CLOSED))
            self._drop(number)

    def opened(self, block: control.Block) -> None:
        """A block of headers is whole. Raises ConnectionFault."""
        if self._blocks is None:
            self._blocks = Blocks(self._interpret)
            self.known = self._blocks.known
        number, stream = block.number, self.streams.get(block.number)
        if stream is not None or number <= self.latest:
            self._trailers(stream, block, self._blocks.decode(block.data))  # decoded for the table's sake, too
            return
        if not number & 1:
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"a client's streams have odd numbers, found {number}")
        self.latest = number
        try:
            opening = self._blocks.read(block.data)
            if block.depends_on == number:
                raise StreamFault(Code.PROTOCOL_ERROR, "a stream that depends on itself")
        except StreamFault as fault:
            self._refuse(number, fault.code, str(fault))
            return
        except Answered as answer:
            self.outbox.headers(number, answer.block)
            if not block.ended:
                self._refuse(number, Code.NO_ERROR, "requests that are no calls")
            return
        if number > self.last_taken:
            return  # it has been told, and sends it elsewhere
        if len(self.streams) >= MAX_STREAMS:
            self._refuse(number, Code.REFUSED_STREAM, f"streams beyond {MAX_STREAMS} at once")
            return
        stream = self.streams[number] = opening.begin(self, number)
        if block.ended:
            stream.received(b"", 0, 0, 1)

    def _trailers(self, stream: Stream | None, block: control.Block, headers: Headers) -> None:
        if stream is None:
            if block.number not in self._dropped:
                raise ConnectionFault(Code.STREAM_CLOSED, f"HEADERS for stream {block.number}, which is gone")
        elif stream.ended:
            self.blame(stream, Code.STREAM_CLOSED)
        elif not block.ended or any(name.startswith(b":") for name, _ in headers):
            self.blame(stream, Code.PROTOCOL_ERROR)
        else:
            stream.received(b"", 0, 0, 1)

    def _refuse(self, number: int, code: Code, sentence: str) -> None:
        self.outbox.control(frames.reset(number, code))
        self._drop(number)
        self.goodwill.spend(REFUSED, sentence)

    def _drop(self, number: int) -> None:
        if self._dropped is _NOBODY:
            self._dropped = {}
        if len(self._dropped) >= _REMEMBERED:
            del self._dropped[next(iter(self._dropped))]
        self._dropped[number] = None

    # -- for streams ------------------------------------------------------------------------------------------------

    def finished(self, stream: Stream) -> None:
        """All that the stream had to say has left, or is on its way."""
        del self.streams[stream.number]
        self.goodwill.left += ANSWERED
        if not stream.ended:
            self.outbox.control(frames.reset(stream.number, Code.NO_ERROR))
            self._drop(stream.number)
        if not self.streams and self.last_taken != STREAM_BITS:
            self.outbox.wake()  # that was what it was kept open for

    def reset(self, stream: Stream, code: Code) -> None:
        """End a stream before its time."""
        self.outbox.control(frames.reset(stream.number, code))
        self._drop(stream.number)
        self.gone(stream)

    def blame(self, stream: Stream, code: Code) -> None:
        """End a stream whose peer has broken the rules. Raises ConnectionFault if it does so again and again."""
        self.reset(stream, code)
        self.goodwill.spend(REFUSED, "streams that break the rules")

    def gone(self, stream: Stream) -> None:
        """The stream has ended before its time, and both sides know."""
        self.outbox.forget(stream.number)
        del self.streams[stream.number]
        stream.lost()

    # -- the end ----------------------------------------------------------------------------------------------------

    def retire(self, *, at_once: bool) -> None:
        """Take no new streams: those that are on their way still, unless `at_once`."""
        if self.over:
            return
        last = self.latest if at_once else STREAM_BITS
        self.last_taken = min(self.last_taken, last)
        self.outbox.control(frames.goaway(last, Code.NO_ERROR))

    def end(self, code: Code, sentence: str) -> None:
        """Say why it ends, and end it: all streams are lost. `over` from here on."""
        if not self.over:
            self.over = True
            self.outbox.control(frames.goaway(self.latest, code, sentence))
            self.lost()

    def lost(self) -> None:
        """The connection is gone."""
        self.over = True
        for stream in list(self.streams.values()):
            self.gone(stream)

    def second(self) -> None:
        """A second has passed."""
        self.goodwill.second()
        self.young = self.latest
