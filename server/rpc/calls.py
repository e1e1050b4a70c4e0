"""What a service is to whoever carries its messages: a table of methods, with no word of HTTP/2.

    Unary:      begin(message, call) ... call.answer(message) | call.fail(error)
    Streaming:  open(call) -> a receiver; its message(...) <-> call.send(...) ... call.close() | call.fail(error)

Receives methods from `servicer`, `health` and `reflection`; `call` has the messages. All happens on the event loop by
plain calls, because a task for each message would cost more than everything else here; methods that want one get it
from `tasks`. A client that goes away cancels what runs for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from google.protobuf.message import DecodeError

from headrace.errors import BadRequest
from server.rpc.clients import Peer
from server.rpc.codec import Message
from server.rpc.head import Head
from server.rpc.trailers import Metadata


class Running(Protocol):
    """What is done for a call."""

    def cancel(self) -> Any:
        """The client went away: nothing is answered from here on."""


class Call(Protocol):
    """What the carrier of the messages knows about one call."""

    @property
    def peer(self) -> Peer:
        """The connection that it came by."""
        ...

    def head(self) -> Head:
        """What the headers say of an infer request, with what is left of the deadline. Raises BadRequest."""
        ...

    def time_remaining(self) -> float | None:
        """Seconds until the client's deadline, None if it has none."""
        ...

    def fail(self, error: Exception) -> None:
        """End it with the status of `error`."""
        ...


class UnaryCall(Call, Protocol):
    """A call with one message each way."""

    client: int
    """A number of the peer's, given back when the call ends; 0: none."""

    def answer(self, message: bytes, trailing: Metadata = ()) -> None:
        """End it well, with `message`; `trailing` is what the client gets after it."""
        ...


class StreamCall(Call, Protocol):
    """A call with any number of messages either way."""

    def send(self, message: bytes) -> bool:
        """Send `message`. False: it waits for the client to read; say no more until the receiver's `resume`."""
        ...

    def hold(self) -> None:
        """Take no more messages for now: the client is held back."""
        ...

    def release(self) -> None:
        """Take messages again."""
        ...

    def close(self) -> None:
        """End it well."""
        ...


class Receiver(Protocol):
    """What hears a streaming call."""

    def message(self, data: bytes) -> None:
        """The client has sent a message."""

    def ended(self) -> None:
        """The client sends no more."""

    def resume(self) -> None:
        """What waited for the client has left."""

    def cancel(self) -> None:
        """The call is over before its time: the client went away, or broke the rules. Nothing can be sent."""


@dataclass(frozen=True, slots=True)
class Unary:
    """One message in, one out. `begin` answers the call, at once or later; then it returns what can be cancelled."""

    begin: Callable[[bytes, UnaryCall], Running | None]


@dataclass(frozen=True, slots=True)
class Streaming:
    """Messages in, messages out, as the receiver likes that `open` returns."""

    open: Callable[[StreamCall], Receiver]


def parsed(kind: Any, data: bytes) -> Message:
    """The message of this kind in `data`. Raises BadRequest: bytes that are no message are the client's error."""
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise BadRequest(f"the message is not a valid {kind.DESCRIPTOR.full_name}: {error}") from None
