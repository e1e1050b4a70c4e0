"""A call with one message each way: from its bytes to its method, and back.

    DATA -> message -> method ... answer -> head, message, trailers in one go

A message that comes whole in one frame, as nearly all small ones do, goes straight to its method; the rest is gathered
(`incoming`). Invariant: a call is ended once, by `answer`, `fail` or `lost`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.errors import ServingError
from server.rpc.call import CallStream
from server.rpc.calls import Running
from server.rpc.framing import PREFIX, PREFIX_BYTES, Sent, prefix
from server.rpc.http2.connection import Connection
from server.rpc.http2.errors import Code as Http2Code
from server.rpc.http2.errors import StreamFault
from server.rpc.incoming import Incoming
from server.rpc.status import Code, RpcError
from server.rpc.trailers import HEAD, OK, Metadata, ending, failed

if TYPE_CHECKING:
    from server.rpc.opening import Opening

_prefix = PREFIX.unpack_from


class UnaryCall(CallStream):
    """A `calls.UnaryCall`."""

    __slots__ = ("_message", "_running", "client")

    def __init__(self, connection: Connection, number: int, opening: Opening) -> None:
        CallStream.__init__(self, connection, number, opening)  # half of what super() takes
        self.client = 0
        self._message: Sent | None = None
        self._running: Running | None = None

    def received(self, data: bytes, start: int, stop: int, ended: int) -> None:
        """See `Stream`."""
        body, length = start + PREFIX_BYTES, self.opening.length
        if ended and self.incoming is None and stop >= body and (length is None or length == stop - start):
            packed, size = _prefix(data, start)
            if not packed and size == stop - body <= self.opening.limit:
                self.ended = True
                self._running = self.opening.method.begin(data[body:stop], self)  # type: ignore[union-attr]
                return
        try:
            self._gather(data[start:stop], ended)
        except (ServingError, RpcError) as error:
            self.fail(error)
        except StreamFault as fault:
            self.connection.blame(self, fault.code)

    def _gather(self, data: bytes, ended: int) -> None:
        incoming = self.incoming
        if incoming is None:
            incoming = self.incoming = Incoming(self, self.opening)
        self.ended = bool(ended)
        found = incoming.take(data, ended)
        if len(found) > 1 or (found and self._message is not None):
            raise RpcError(Code.UNIMPLEMENTED, "the method takes one message, the call has several")
        self._message = found[0] if found else self._message
        if not ended:
            incoming.make_room()
        elif self._message is None or incoming.messages.partial:
            raise RpcError(Code.INTERNAL, "the call ended before its message")
        else:
            message, self._message = incoming.messages.unpacked(self._message), None
            incoming.give_back()
            self._running = self.opening.method.begin(message, self)  # type: ignore[union-attr]

    def answer(self, message: bytes, trailing: Metadata = ()) -> None:
        """See `calls.UnaryCall`."""
        tail = ending(0, "", trailing, begun=True) if trailing else OK
        if self.connection.outbox.answer(self, HEAD, prefix(message), message, tail):
            self.connection.finished(self)
        self._over()

    def fail(self, error: Exception) -> None:
        """See `calls.Call`."""
        self.connection.outbox.headers(self.number, failed(error, begun=False))
        self.connection.finished(self)
        self._over()

    def broken(self, error: Exception) -> None:
        """See `Stream`."""
        if self._running is not None:
            self._running.cancel()
        if self.pending:
            self.connection.reset(self, Http2Code.CANCEL)  # half of its answer has left
        else:
            self.fail(error)

    def receiving(self, now: float) -> float:
        """See `Stream`."""
        if self.ended:
            return 0.0
        if self.incoming is None:
            self.incoming = Incoming(self, self.opening)
        return self.incoming.for_s(now)

    def lost(self) -> None:
        """See `Stream`."""
        if self._running is not None:
            self._running.cancel()
        self._over()

    def _over(self) -> None:
        self._running = None
        if self.incoming is not None:
            self.incoming.give_back()
        if self.client:
            self.peer.give_back(self.client)
            self.client = 0
