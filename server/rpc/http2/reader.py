"""Bytes -> frames -> whoever they are for.

    DATA ---------------------------> Stream.received, in the pieces in which it comes
    HEADERS whose block is known ---> a stream begins
    HEADERS (+ CONTINUATION) -------> gathered -> Connection.opened
    everything else ----------------> control.HANDLERS

Receives bytes from `connection`, whose part it is; the first two lines are the hot path and stand in one loop.
Invariants: 1. No frame has any effect before it is whole, but for DATA. 2. It holds less than one frame, and one block
of headers, besides what it is behind with. 3. `MOST_FRAMES` are read at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from server.rpc.http2 import control, frames
from server.rpc.http2.errors import Code, ConnectionFault
from server.rpc.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEAD_BYTES,
    HEADERS,
    MAX_FRAME_BYTES,
    PADDED,
    PREFACE,
    SETTINGS,
    STREAM_BITS,
)
from server.rpc.http2.goodwill import IDLE_FRAME
from server.rpc.http2.headers import MAX_BLOCK_BYTES

if TYPE_CHECKING:
    from server.rpc.http2.connection import Connection
    from server.rpc.http2.stream import Stream

MOST_FRAMES: Final = 128
"""In one go: others have their turn then."""
MOST_BLOCKS = 16
"""Of headers that are not known, in one go: each takes as long as dozens of other frames."""

_unpack = frames.HEAD.unpack_from


class Reader:
    """What `connection` has not read yet."""

    __slots__ = ("_block", "_connection", "_greeted", "_open", "_rest", "behind")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._greeted = False
        self.behind = False
        """There were more frames than are for one turn: read on (with no bytes) in the next."""
        self._rest = b""
        self._block: control.Block | None = None
        self._open: tuple[Stream | None, int, int] | None = None
        """A DATA frame of which more is to come: stream, bytes, whether it ends the stream."""

    @property
    def midway(self) -> bool:
        """The peer has said half of something: a frame, a block of headers, its greeting."""
        settled = self._connection.settled
        return bool(self._rest) or self._block is not None or self._open is not None or not settled

    def read(self, data: bytes) -> None:
        """Bytes have come. Raises ConnectionFault."""
        self.behind = False
        if self._rest:
            data = self._rest + data
        at = 0
        if not self._greeted:
            at = self._preface(data)
            if not at:
                self._rest = data
                return
        elif self._open is not None:
            at = self._more(data)
        self._rest = self._frames(data, at)

    def _frames(self, data: bytes, at: int) -> bytes:  # noqa: PLR0912 - the hot path: calls for each kind would show
        """Take frames from `at` on. Returns the bytes that are left."""
        connection = self._connection
        streams, known, end = connection.streams, connection.known, len(data)
        blocks = 0
        for _ in range(MOST_FRAMES):
            if end - at < HEAD_BYTES:
                break
            upper, lower, kind, flags, number = _unpack(data, at)
            size = upper << 8 | lower
            start = at + HEAD_BYTES
            stop = start + size
            if size > MAX_FRAME_BYTES:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"a frame has at most {MAX_FRAME_BYTES} bytes, not {size}")
            if self._block is not None and kind != CONTINUATION:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "only CONTINUATION follows HEADERS that have not ended")
            if kind == DATA and not flags & PADDED:
                stream = streams.get(number)
                if stream is None or stream.ended or size > stream.room:
                    stream = connection.unusual_data(number & STREAM_BITS, size)
                ended = flags & END_STREAM
                if stop > end:  # the rest is passed on as it comes
                    self._open = stream, stop - end, ended
                    stop, ended = end, 0
                if stream is not None:
                    stream.room -= size
                    stream.received(data, start, stop, ended)
                at = stop
                connection.room -= size
                if connection.room < 0:
                    connection.make_room()
                continue
            if stop > end:
                break
            at = stop
            if kind == HEADERS and flags == END_HEADERS:
                opening = known.get(data[start:stop])
                if opening is not None and connection.may_begin(number):
                    connection.latest = number
                    streams[number] = opening.begin(connection, number)
                    continue
            self._frame(kind, flags, number & STREAM_BITS, data[start:stop])
            known = connection.known
            blocks += kind == HEADERS
            if blocks == MOST_BLOCKS:
                self.behind = True
                break
        else:
            self.behind = True
        return data[at:]

    def _preface(self, data: bytes) -> int:
        """Where frames begin; 0 if they do not yet. Raises ConnectionFault."""
        begun = data[: len(PREFACE)]
        if not PREFACE.startswith(begun):
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"this is HTTP/2 with prior knowledge, found {begun[:24]!r}")
        self._greeted = begun == PREFACE
        return len(begun) if self._greeted else 0

    def _more(self, data: bytes) -> int:
        """Pass on the rest of a DATA frame. Returns where the next frame begins."""
        assert self._open is not None
        stream, left, ended = self._open
        stop = min(left, len(data))
        self._open = (stream, left - stop, ended) if left > stop else None
        if stream is not None and self._connection.streams.get(stream.number) is stream:
            stream.received(data, 0, stop, 0 if left > stop else ended)
        return stop

    def _frame(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        connection = self._connection
        frames.check(kind, number, len(payload))
        if not connection.settled and (kind != SETTINGS or flags & ACK):
            raise ConnectionFault(Code.PROTOCOL_ERROR, "SETTINGS come first")
        if kind == DATA:
            self._padded_data(flags, number, payload)
        elif kind == HEADERS:
            self._gather(control.begun(flags, number, payload), flags)
        elif kind == CONTINUATION:
            connection.goodwill.spend(IDLE_FRAME, "CONTINUATION")
            self._gather(control.continued(self._block, number, payload), flags)
        else:
            control.HANDLERS.get(kind, control.ignored)(connection, flags, number, payload)

    def _padded_data(self, flags: int, number: int, payload: bytes) -> None:
        connection, size = self._connection, len(payload)
        data = frames.unpadded("DATA", flags, payload)
        stream = connection.unusual_data(number, size)
        if stream is not None:
            stream.room -= size
            stream.grow(size - len(data))
            stream.received(data, 0, len(data), flags & END_STREAM)
        connection.room -= size
        connection.make_room()

    def _gather(self, block: control.Block, flags: int) -> None:
        if len(block.data) > MAX_BLOCK_BYTES:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, f"headers of more than {MAX_BLOCK_BYTES} bytes")
        self._block = None if flags & END_HEADERS else block
        if self._block is None:
            self._connection.opened(block)
