"""Who asks over gRPC, for the batcher: a connection carries many calls at once, so a client is a peer and a slot.

    call begins -> the lowest free slot of its peer ... call ends -> the slot is free

Receives grpc's name of the peer from `servicer`, hands it a number that goes into `InferRequest.client`. N closed loops
on one connection hold N slots, and who sends again after an answer finds one that was just given back: so the batcher
sees N clients and what they take to come back. Invariants: 1. Two calls under way have different numbers. 2. Numbers
are below zero, where those of HTTP connections never are. 3. Peers without a call are forgotten when there are many.
"""

from __future__ import annotations

from heapq import heappop, heappush

MOST_PEERS = 4096
_MOST_SLOTS = 1 << 20
"""Numbers that a peer has for itself: more than calls fit into memory."""


class Peer:
    """One connection. `free` are numbers that were given back, a heap of which the lowest slot's comes first."""

    __slots__ = ("_last", "free", "under_way")

    def __init__(self, index: int) -> None:
        self.free: list[int] = []
        self._last = -(index + 1) * _MOST_SLOTS
        self.under_way = 0

    def take(self) -> int:
        """A number for a call that begins."""
        self.under_way += 1
        if self.free:
            return heappop(self.free)
        self._last += 1
        return self._last

    def give_back(self, number: int) -> None:
        """The call has ended."""
        self.under_way -= 1
        heappush(self.free, number)


class Clients:
    """All peers of one replica. Used from the event loop only."""

    def __init__(self) -> None:
        self._peers: dict[str, Peer] = {}
        self._known = 0

    def __len__(self) -> int:
        return len(self._peers)

    def peer(self, name: str) -> Peer:
        """The peer of this name: whoever takes a number from it gives it back."""
        return self._peers.get(name) or self._new(name)

    def _new(self, name: str) -> Peer:
        if len(self._peers) >= MOST_PEERS:
            self._peers = {each: peer for each, peer in self._peers.items() if peer.under_way}
        self._known += 1
        peer = self._peers[name] = Peer(self._known)
        return peer
