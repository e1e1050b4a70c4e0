"""One stream of a connection: what is left of its two windows, and what waits for the peer's.

    idle -> open -> [the peer has ended: half closed] -> [we have ended too: gone]      reset by either: gone at once

Made by an opening when its headers have come (`connection`); what it does with its bytes is its subclass's business.
A stream that is in `Connection.streams` is not gone.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from server.rpc.http2.frames import window_update
from server.rpc.http2.headers import Block
from server.rpc.http2.settings import ROOM

if TYPE_CHECKING:
    from server.rpc.http2.connection import Connection


class Stream:
    """`room`: what the peer may still send; `window`: what may still be sent to it; `ended`: the peer says no more."""

    __slots__ = ("connection", "ended", "number", "pending", "room", "tail", "window")

    def __init__(self, connection: Connection, number: int) -> None:
        self.connection = connection
        self.number = number
        self.room = ROOM
        self.window = connection.outbox.initial
        self.ended = False
        self.pending: deque[memoryview] | None = None
        """Bytes that wait for a window; None as long as none ever had to."""
        self.tail: Block | None = None
        """The headers that end it, once what is pending has left."""

    def grow(self, size: int) -> None:
        """Let the peer send `size` bytes more."""
        if size:
            self.room += size
            self.connection.outbox.control(window_update(self.number, size))

    def received(self, data: bytes, start: int, stop: int, ended: int) -> None:
        """The peer has sent `data[start:stop]`; `ended`: and says no more."""
        raise NotImplementedError

    def receiving(self, now: float) -> float:
        """For how long it has been receiving the same message, in seconds, as who asks every second can know."""
        raise NotImplementedError

    def broken(self, error: Exception) -> None:
        """End it, since what comes of it cannot be or is not to be: the peer hears why."""
        raise NotImplementedError

    def lost(self) -> None:
        """It is gone before its time: reset, or the connection is. Nothing can be sent."""

    def unblocked(self) -> None:
        """All that was pending has left."""
        if self.tail is not None:
            self.connection.finished(self)
