"""A call with any number of messages either way.

    DATA -> messages -> receiver.message ... hold -> they wait here, and the client for its window ... release
    send -> the client's window -> blocked ... receiver.resume

Invariants: 1. A call is ended once, by `close`, `fail` or `lost`; its receiver hears nothing after that. 2. The
client's window grows by what the receiver has taken, so no more than a window, and one message that is larger, waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from headrace.errors import ServingError
from server.rpc.call import CallStream
from server.rpc.calls import Receiver, Streaming
from server.rpc.framing import Sent, prefix
from server.rpc.http2.connection import Connection
from server.rpc.http2.errors import StreamFault
from server.rpc.http2.goodwill import ANSWERED
from server.rpc.http2.headers import Block
from server.rpc.http2.settings import ROOM
from server.rpc.incoming import Incoming
from server.rpc.status import Code, RpcError
from server.rpc.trailers import HEAD, OK, failed

if TYPE_CHECKING:
    from server.rpc.opening import Opening


class StreamCall(CallStream):
    """A `calls.StreamCall`."""

    __slots__ = ("_begun", "_deadline", "_held", "_owed", "_receiver", "_told", "_waiting")

    def __init__(self, connection: Connection, number: int, opening: Opening) -> None:
        super().__init__(connection, number, opening)
        self._begun = self._held = self._told = False
        self._owed = 0
        """Bytes that have been read and that the client's window does not have back yet."""
        self._waiting: deque[tuple[Sent, bool]] = deque()
        """Messages, and whether room was asked for them."""
        self._deadline: asyncio.TimerHandle | None = None
        left_s = self.time_remaining()
        if left_s is not None:
            self._deadline = asyncio.get_running_loop().call_later(left_s, self._late)
        method = opening.method
        assert isinstance(method, Streaming)
        self._receiver: Receiver | None = method.open(self)

    def received(self, data: bytes, start: int, stop: int, ended: int) -> None:
        """See `Stream`."""
        if self._receiver is None:
            return
        if self.incoming is None:
            self.incoming = Incoming(self, self.opening)
        try:
            found = self.incoming.take(data[start:stop], ended)
        except (ServingError, RpcError) as error:
            self.broken(error)
        except StreamFault as fault:
            self.connection.blame(self, fault.code)
        else:
            self.ended = bool(ended)
            self._waiting.extend((message, self.incoming.asked) for message in found)
            self._deliver(self.incoming)

    def _deliver(self, incoming: Incoming) -> None:
        waiting = self._waiting
        while waiting and not self._held and self._receiver is not None:
            message, granted = waiting.popleft()
            self._owed += message.size - (incoming.give_back() if granted else 0)
            try:
                unpacked = incoming.messages.unpacked(message)
            except (ServingError, RpcError) as error:
                self.broken(error)
                return
            self._receiver.message(unpacked)
        if self._receiver is None:
            return
        if not self.ended:
            if self._owed >= ROOM >> 1:
                self.grow(self._owed)
                self._owed = 0
            incoming.make_room()
        elif not waiting and not self._held and not self._told:
            self._told = True
            if incoming.messages.partial:
                self.broken(RpcError(Code.INTERNAL, "the call ended within a message"))
            else:
                self._receiver.ended()

    def hold(self) -> None:
        """See `calls.StreamCall`."""
        self._held = True

    def release(self) -> None:
        """See `calls.StreamCall`."""
        if self._held:
            self._held = False
            if self.incoming is not None:
                self._deliver(self.incoming)

    def send(self, message: bytes) -> bool:
        """See `calls.StreamCall`."""
        self._begin()
        self.connection.goodwill.left += ANSWERED
        return self.connection.outbox.data(self, prefix(message), message)

    def close(self) -> None:
        """See `calls.StreamCall`."""
        self._begin()
        self._end(OK)

    def fail(self, error: Exception) -> None:
        """See `calls.Call`."""
        self._end(failed(error, begun=self._begun))

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self.connection.outbox.headers(self.number, HEAD)

    def _end(self, tail: Block) -> None:
        self._over()
        if self.connection.outbox.data(self, tail=tail):
            self.connection.finished(self)

    def unblocked(self) -> None:
        """See `Stream`."""
        super().unblocked()
        if self._receiver is not None:
            self._receiver.resume()

    def lost(self) -> None:
        """See `Stream`."""
        receiver = self._receiver
        self._over()
        if receiver is not None:
            receiver.cancel()

    def _late(self) -> None:
        self.broken(RpcError(Code.DEADLINE_EXCEEDED, "the call's deadline passed"))

    def receiving(self, now: float) -> float:
        """See `Stream`."""
        incoming = self.incoming
        if incoming is None:
            return 0.0
        if incoming.messages.partial:
            return incoming.for_s(now)
        incoming.nothing_missing()
        return 0.0

    def broken(self, error: Exception) -> None:
        """See `Stream`."""
        receiver = self._receiver
        self.fail(error)
        if receiver is not None:
            receiver.cancel()

    def _over(self) -> None:
        self._receiver = None
        self._waiting.clear()
        if self.incoming is not None:
            self.incoming.give_back()
        if self._deadline is not None:
            self._deadline.cancel()
