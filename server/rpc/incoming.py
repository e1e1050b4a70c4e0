"""Messages that come in parts: gathered, and room made for those that need it.

Made by a call (`unary_call`, `stream_call`) for what does not come whole in one frame. Invariants: 1. What a message
needs beyond its stream's window is asked for as soon as its size is known, once. 2. A body that is not as long as its
headers say is a fault of the stream. 3. Slivers of messages cost goodwill.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from server.rpc.framing import Messages, Sent
from server.rpc.http2.errors import Code, StreamFault
from server.rpc.http2.goodwill import IDLE_FRAME
from server.rpc.http2.stream import Stream

if TYPE_CHECKING:
    from server.rpc.opening import Opening

SLIVER_BYTES: Final = 512
"""Less than this, of a message that is longer, is worth its frame a few thousand times only."""


class Incoming:
    """What comes of one call."""

    __slots__ = ("_asked", "_had", "_length", "_since", "_stream", "messages")

    def __init__(self, stream: Stream, opening: Opening) -> None:
        self.messages = Messages(opening.limit, opening.unpack)
        self._stream = stream
        self._length = opening.length
        self._had = 0
        self._asked = False
        """Room for a message has been asked for, and not been given back."""
        self._since: float | None = None

    def take(self, data: bytes, ended: int) -> list[Sent]:
        """The messages that `data` completes. Raises TooLarge, RpcError, StreamFault, ConnectionFault."""
        self._had += len(data)
        length = self._length
        if length is not None and (self._had > length or (ended and self._had < length)):
            raise StreamFault(Code.PROTOCOL_ERROR, f"content-length is {length}, and there are {self._had} bytes")
        found = list(self.messages.feed(data))
        if found:
            self._since = None
        elif not ended and len(data) < SLIVER_BYTES:
            self._stream.connection.goodwill.spend(IDLE_FRAME, "slivers of messages")
        return found

    @property
    def asked(self) -> bool:
        """Room was asked for the message that has begun, or has come last."""
        return self._asked

    def make_room(self) -> None:
        """See to it that the client can send the whole of the message that has begun."""
        missing, room = self.messages.missing, self._stream.room
        if missing > room and not self._asked:
            self._asked = True
            self._stream.connection.grants.ask(self._stream, missing - room)

    def give_back(self) -> int:
        """The message that needed room is out of the way. Returns how much there was."""
        if not self._asked:
            return 0
        self._asked = False
        return self._stream.connection.grants.give_back(self._stream)

    def for_s(self, now: float) -> float:
        """For how long more of a message has been missing, in seconds, as who asks every second can know."""
        if self._since is None:
            self._since = now
        return now - self._since

    def nothing_missing(self) -> None:
        """To be said by who would ask `for_s` otherwise."""
        self._since = None
