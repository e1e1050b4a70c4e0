"""What a service is to whoever carries its messages: a table of methods, with no word of grpc.aio.

`front` takes `Unary` and `Streaming` methods from `servicer` and `health` and puts bytes in and out; an HTTP/2 front
end of our own will take the same tables. Contract of both kinds: they run as a task of the event loop; a client that
goes away cancels the task; a ServingError raised becomes the call's status.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from google.protobuf.message import DecodeError

from headrace.errors import BadRequest
from server.rpc.codec import Message

Write: TypeAlias = Callable[[Message], Awaitable[None]]
"""Send one message of a stream; waits while the client does not read."""


class Call(Protocol):
    """What the carrier of the messages knows about one call."""

    def time_remaining(self) -> float | None:
        """Seconds until the client's deadline, None if it has none."""
        ...

    def peer(self) -> str:
        """The connection that it came by, under a name that no other has meanwhile."""
        ...

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """What the client sent besides the messages: keys in lower case. Takes 1.3 us: ask once."""
        ...

    def set_trailing_metadata(self, trailing_metadata: tuple[tuple[str, str], ...]) -> None:
        """What the client gets after the answer."""
        ...


@dataclass(frozen=True, slots=True)
class Unary:
    """One message in, one out, as bytes."""

    answer: Callable[[bytes, Call], Awaitable[bytes]]


def of_messages(kind: Any, answer: Callable[[Message, Call], Awaitable[Message]]) -> Unary:
    """A method whose `answer` takes a message of this kind and returns one."""

    async def of_bytes(data: bytes, call: Call) -> bytes:
        return bytes((await answer(parsed(kind, data), call)).SerializeToString())

    return Unary(of_bytes)


def parsed(kind: Any, data: bytes) -> Message:
    """The message of this kind in `data`. Raises BadRequest: bytes that are no message are the client's error."""
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise BadRequest(f"the message is not a valid {kind.DESCRIPTOR.full_name}: {error}") from None


@dataclass(frozen=True, slots=True)
class Streaming:
    """Messages in, messages out. The stream ends well when `serve` returns."""

    request: Any
    serve: Callable[[AsyncIterator[Message], Write, Call], Awaitable[None]]
