"""A gRPC call as a stream of HTTP/2: what calls with one message and with many have in common.

Made by `opening` for a stream whose headers have been read; see `unary_call` and `stream_call`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from server.rpc.clients import Peer
from server.rpc.head import Head
from server.rpc.http2.connection import Connection
from server.rpc.http2.stream import Stream
from server.rpc.incoming import Incoming

if TYPE_CHECKING:
    from server.rpc.opening import Opening


class CallStream(Stream):
    """A `calls.Call`."""

    __slots__ = ("incoming", "opening", "since")

    def __init__(self, connection: Connection, number: int, opening: Opening) -> None:
        Stream.__init__(self, connection, number)
        self.opening = opening
        self.incoming: Incoming | None = None  # most never need it
        if opening.timeout_s is not None:
            self.since = time.monotonic()

    @property
    def peer(self) -> Peer:
        """See `calls.Call`."""
        return self.connection.peer  # type: ignore[no-any-return,attr-defined]

    def head(self) -> Head:
        """See `calls.Call`."""
        head = self.opening.head
        if not isinstance(head, Head):
            raise head
        if self.opening.timeout_s is None:
            return head
        left_us = max(1, int((self.since + self.opening.timeout_s - time.monotonic()) * 1e6))
        return Head(min(head.timeout_us or left_us, left_us), head.sticky)

    def time_remaining(self) -> float | None:
        """See `calls.Call`."""
        timeout_s = self.opening.timeout_s
        return None if timeout_s is None else self.since + timeout_s - time.monotonic()
