"""What goes to the peer, in order: pieces of frames that are written together, and what its windows hold back.

Receives whole answers, headers and data from streams, control frames from `connection`; whoever has the socket takes
`pieces` when `wake` has been called. Invariants: 1. Neither window of the peer, nor its frame size, is ever exceeded.
2. A stream's bytes leave in the order in which they came, its ending headers last. 3. Streams that wait for the
connection's window get their turns one after the other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from server.rpc.http2.errors import Code, ConnectionFault
from server.rpc.http2.frames import DATA, HEAD, MAX_FRAME_BYTES
from server.rpc.http2.headers import NO_TABLE, Block
from server.rpc.http2.settings import MAX_WINDOW, WINDOW

if TYPE_CHECKING:
    from server.rpc.http2.stream import Stream


class Outbox:
    """One connection's. `wake` is called whenever there are new pieces, and those make sense together."""

    __slots__ = ("_told", "blocked", "frame_bytes", "initial", "moved", "pieces", "wake", "window")

    def __init__(self, wake: Callable[[], None]) -> None:
        self.wake = wake
        self._told = False
        """The peer knows that no table is used."""
        self.pieces: list[bytes | memoryview] = []
        self.window = WINDOW
        self.initial = WINDOW
        self.frame_bytes = MAX_FRAME_BYTES
        self.blocked: dict[int, Stream] = {}
        self.moved = False
        """Something that was blocked has left since this was last set to false."""

    def control(self, frame: bytes) -> None:
        """A whole frame that no window holds back."""
        self.pieces.append(frame)
        self.wake()

    def answer(self, stream: Stream, head: Block, prefix: bytes, body: bytes, tail: Block) -> bool:
        """All that a stream ever sends: headers, data, ending headers. True: it has left, and nothing is pending."""
        size = len(prefix) + len(body)
        if not (self._told and size <= self.window and size <= stream.window and size <= self.frame_bytes):
            self.headers(stream.number, head)
            return self.data(stream, prefix, body, tail=tail)
        self.window -= size
        number = stream.number.to_bytes(4, "big")
        self.pieces += (
            head.front, number, head.payload,
            size.to_bytes(3, "big"), b"\0\0", number, prefix, body,
            tail.front, number, tail.payload,
        )  # fmt: skip
        self.wake()
        return True

    def headers(self, number: int, block: Block) -> None:
        """Headers of a stream that has nothing pending."""
        self.control(block.frame(number, b"" if self._told else NO_TABLE))
        self._told = True

    def data(self, stream: Stream, *parts: bytes, tail: Block | None = None) -> bool:
        """Data, and the headers that end the stream if there are any. True: it has all left."""
        if stream.pending is None:
            stream.pending = deque()
        stream.pending.extend(memoryview(part) for part in parts if part)
        stream.tail = tail or stream.tail
        if stream.number not in self.blocked and not self._push(stream):
            self.blocked[stream.number] = stream
        return stream.number not in self.blocked

    def forget(self, number: int) -> None:
        """Stream `number` is gone, and what it has pending with it."""
        self.blocked.pop(number, None)

    def widen(self, stream: Stream | None, size: int) -> bool:
        """The peer takes `size` bytes more, of the stream or (None) of all. False: of the stream that is too many.

        Raises ConnectionFault if it is too many of all.
        """
        if stream is None:
            self.window += size
            if self.window > MAX_WINDOW:
                raise ConnectionFault(Code.FLOW_CONTROL_ERROR, f"a window has at most {MAX_WINDOW} bytes")
        else:
            stream.window += size
            if stream.window > MAX_WINDOW:
                return False
        if self.blocked:
            self.push()
        return True

    def reset_windows(self, initial: int, streams: list[Stream]) -> None:
        """The peer has changed what all streams begin with. Windows may fall below zero. Raises ConnectionFault."""
        more, self.initial = initial - self.initial, initial
        for stream in streams:
            stream.window += more
            if stream.window > MAX_WINDOW:
                raise ConnectionFault(Code.FLOW_CONTROL_ERROR, f"a window has at most {MAX_WINDOW} bytes")
        self.push()

    def push(self) -> None:
        """Send of what is blocked as much as can be."""
        for number, stream in list(self.blocked.items()):
            if self.window <= 0:
                return
            if self.blocked.pop(number, None) is None:
                continue  # gone by what another one did when it was unblocked
            before = self.window
            done = self._push(stream)
            self.moved |= done or self.window < before
            if done:
                stream.unblocked()
            else:
                self.blocked[number] = stream  # behind the others

    def _push(self, stream: Stream) -> bool:
        pending = stream.pending
        assert pending is not None
        while pending:
            size = min(sum(map(len, pending)), self.window, stream.window, self.frame_bytes)
            if size <= 0:
                return False
            self._frame(stream.number, pending, size)
            self.window -= size
            stream.window -= size
        if stream.tail is not None:
            self.headers(stream.number, stream.tail)
        return True

    def _frame(self, number: int, pending: deque[memoryview], size: int) -> None:
        self.pieces.append(HEAD.pack(size >> 8, size & 0xFF, DATA, 0, number))
        while size:
            part = pending.popleft()
            if len(part) > size:
                pending.appendleft(part[size:])
                part = part[:size]
            self.pieces.append(part)
            size -= len(part)
        self.wake()
