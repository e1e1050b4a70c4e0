"""Room for messages that are larger than a stream's window: promised to as many at a time as memory is meant for.

    ask -> room enough, or nobody else has any -> the stream's window grows by all that the message needs
        -> else wait for `give_back` of others, first come first served

Every promise lets one message come to its end, so nobody waits for somebody who waits. Used by the streams of one
connection. A peer that sends nothing of what it was promised holds up its own connection only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from server.rpc.http2.stream import Stream

_NOBODY: Final[dict[Stream, int]] = {}


class Grants:
    """Memory for unfinished messages of one connection: `room` bytes, or one message if that is more."""

    __slots__ = ("_promised", "_room", "_used", "_waiting")

    def __init__(self, room: int) -> None:
        self._room = room
        self._used = 0
        self._promised = self._waiting = _NOBODY

    def ask(self, stream: Stream, size: int) -> None:
        """`stream` needs `size` bytes more than its window is. Asks for one message at a time."""
        if self._waiting or not self._fits(size):
            self._waiting = {**self._waiting, stream: size}
        else:
            self._promise(stream, size)

    def give_back(self, stream: Stream) -> int:
        """Its message has come, or never will. Returns what it was promised."""
        if stream in self._waiting:
            self._waiting = {each: size for each, size in self._waiting.items() if each != stream}
        size = self._promised.pop(stream, 0) if self._promised else 0
        self._used -= size
        while self._waiting:
            first, wanted = next(iter(self._waiting.items()))
            if not self._fits(wanted):
                break
            del self._waiting[first]
            self._promise(first, wanted)
        return size

    def _fits(self, size: int) -> bool:
        return not self._used or self._used + size <= self._room

    def _promise(self, stream: Stream, size: int) -> None:
        if self._promised is _NOBODY:
            self._promised = {}
        self._promised[stream] = size
        self._used += size
        stream.grow(size)
