"""The connections to one port of the pool, as one replica counts its own and sees those of the others.

Made by the board, in whose shared memory the counts are; asked by the listener for every connection that comes.
Invariant: both counts of a replica are written by that replica alone.
"""

from __future__ import annotations

from collections.abc import Sequence


class Crowd:
    """Of the replica at `index`. Cells by replica: open connections, all that were ever accepted, states."""

    def __init__(self, index: int, opened: memoryview, accepted: memoryview, states: Sequence[int], ready: int) -> None:
        self.index = index
        self._open = opened
        self._accepted = accepted
        self._states = states
        self._ready = ready

    def opened(self) -> None:
        """One more is open."""
        self._open[self.index] += 1
        self._accepted[self.index] += 1

    def closed(self) -> None:
        """One fewer is open."""
        self._open[self.index] -= 1

    @property
    def mine(self) -> int:
        """Open connections of this replica."""
        count: int = self._open[self.index]
        return count

    def fewest_elsewhere(self) -> int | None:
        """Open connections of the emptiest READY replica but this one; None if there is no other."""
        others = [
            count
            for index, (count, state) in enumerate(zip(self._open, self._states, strict=True))
            if index != self.index and state == self._ready
        ]
        return min(others, default=None)

    def accepted_elsewhere(self) -> int:
        """Connections that all replicas but this one have accepted, ever: if it moves, they do accept."""
        accepted = self._accepted
        return sum(accepted) - accepted[self.index]
