"""A gRPC call as a stream of HTTP/2: what calls with one message and with many have in common.

    headers (an opening) -> DATA -> framing -> messages

Made by `opening`. Invariants: 1. What a message needs beyond its stream's window is asked for as soon as its size is
known. 2. A body that is not as long as its headers say is a fault of the stream. 3. Slivers of messages cost goodwill.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from headrace.errors import ServingError
from server.rpc.clients import Peer
from server.rpc.framing import Messages, Sent
from server.rpc.head import Head
from server.rpc.http2.connection import Connection
from server.rpc.http2.errors import Code as Http2Code
from server.rpc.http2.goodwill import IDLE_FRAME
from server.rpc.http2.stream import Stream
from server.rpc.status import RpcError

if TYPE_CHECKING:
    from server.rpc.opening import Opening

SLIVER_BYTES: Final = 512
"""Less than this, of a message that is longer, is worth its frame a few thousand times only."""


class CallStream(Stream):
    """What both kinds have in common."""

    __slots__ = ("_asked", "_had", "_incomplete_since", "_messages", "opening", "since")

    def __init__(self, connection: Connection, number: int, opening: Opening) -> None:
        super().__init__(connection, number)
        self.opening = opening
        self._messages: Messages | None = None  # most never need it
        self._asked = False
        """Room for a message has been asked for, and not been given back."""
        self._had = 0
        """Bytes of all its DATA; where the headers say how many there are, they must be right."""
        self._incomplete_since: float | None = None
        self.since = 0.0 if opening.timeout_s is None else time.monotonic()

    @property
    def peer(self) -> Peer:
        """See `calls.Call`."""
        return self.connection.peer  # type: ignore[no-any-return,attr-defined]

    def head(self) -> Head:
        """See `calls.Call`."""
        head = self.opening.head
        if not isinstance(head, Head):
            raise head
        left_s = self.time_remaining()
        if left_s is None:
            return head
        left_us = max(1, int(left_s * 1e6))
        return Head(min(head.timeout_us or left_us, left_us), head.sticky)

    def time_remaining(self) -> float | None:
        """See `calls.Call`."""
        timeout_s = self.opening.timeout_s
        return None if timeout_s is None else self.since + timeout_s - time.monotonic()

    def _taken(self, data: bytes, ended: int) -> list[Sent] | None:
        """The messages that `data` completes; None: the call has failed for it."""
        messages = self._messages
        if messages is None:
            messages = self._messages = Messages(self.opening.limit, self.opening.unpack)
        self._had += len(data)
        length = self.opening.length
        if length is not None and (self._had > length or (ended and self._had < length)):
            self.connection.reset(self, Http2Code.PROTOCOL_ERROR)
            return None
        try:
            found = list(messages.feed(data))
        except (ServingError, RpcError) as error:
            self.broken(error)
            return None
        if found:
            self._incomplete_since = None
        elif not ended and len(data) < SLIVER_BYTES:
            self.connection.goodwill.spend(IDLE_FRAME, "slivers of messages")
        return found

    def _make_room(self) -> None:
        """See to it that the client can send the whole of the message that has begun."""
        missing = self._messages.missing if self._messages is not None else 0
        if missing > self.room and not self._asked:
            self._asked = True
            self.connection.grants.ask(self, missing - self.room)

    def _give_back(self) -> int:
        """The message that needed room is out of the way. Returns how much there was."""
        if not self._asked:
            return 0
        self._asked = False
        return self.connection.grants.give_back(self)

    @property
    def _incomplete(self) -> bool:
        """More of a message is to come."""
        raise NotImplementedError

    def receiving(self, now: float) -> float:
        """See `Stream`."""
        if not self._incomplete:
            self._incomplete_since = None
            return 0.0
        if self._incomplete_since is None:
            self._incomplete_since = now
        return now - self._incomplete_since
