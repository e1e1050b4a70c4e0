"""Who asks over gRPC, for the batcher: a connection carries many calls at once, so a client is a peer and a slot.

    call begins -> the lowest free slot of its peer ... call ends -> the slot is free

Made for each connection, hands `servicer` numbers that go into `InferRequest.client`. N closed loops on one connection
hold N slots, and who sends again after an answer finds one that was just given back: so the batcher sees N clients and
what they take to come back. Invariants: 1. Two calls under way have different numbers. 2. Numbers are below zero, where
those of HTTP connections never are.
"""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count

_MOST_SLOTS = 1 << 20
"""Numbers that a peer has for itself: more than a connection has calls."""
_known = count(1)


class Peer:
    """One connection. `free` are numbers that were given back, a heap of which the lowest slot's comes first."""

    __slots__ = ("_last", "free")

    def __init__(self) -> None:
        self.free: list[int] = []
        self._last = -next(_known) * _MOST_SLOTS

    def take(self) -> int:
        """A number for a call that begins."""
        if self.free:
            return heappop(self.free)
        self._last += 1
        return self._last

    def give_back(self, number: int) -> None:
        """The call has ended."""
        heappush(self.free, number)
