"""Who of a failed batch is to blame? Its requests run again in parts until the error has failed alone.

Told by the batcher how runs ended, says in which parts a failed batch runs again; the parts go back to the front of
their group in the queue. Pure. Invariants: 1. Nobody hears the error of a run that he shared. 2. A failed batch of n
requests costs at most n + 3 log2(n) more runs; n if nothing has worked lately, which is what a broken model costs.

One request in n to blame is found by halves in 2 log2(n) runs; where many are, halves cost up to 2n and single
requests n. So halves are given up after 2 log2(n) of them failed, enough for two culprits wherever they stand, and are
not begun while as many requests as the batch has failed alone since a run last worked. Considered instead: to answer
all with the batch's error once a model seems broken, which makes an innocent pay for the company it was put in.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat

from batcher.entry import Entry, Part


class Blame:
    """What one model's runs have said. Owned by its batcher."""

    __slots__ = ("_failed_alone",)

    def __init__(self) -> None:
        self._failed_alone = 0

    def worked(self) -> None:
        """A run has succeeded."""
        self._failed_alone = 0

    def failed_alone(self) -> None:
        """A request has failed in a run of its own."""
        self._failed_alone += 1

    def part(self, requests: int) -> Part:
        """A mark for so many requests of a batch that failed, with all that may be done to take them apart ahead."""
        hopeful = self._failed_alone < requests
        return Part(repeat(True, 2 * (requests - 1).bit_length() if hopeful else 0))

    def parts(self, batch: Sequence[Entry]) -> list[list[Entry]]:
        """The parts in which a batch that failed runs again, marked as such. Leaves out who is done."""
        halves = (batch[0].part or self.part(len(batch))).halves
        wanted = [entry for entry in batch if not entry.done]
        size = (len(wanted) + 1) // 2 if next(halves, False) else 1
        parts = [wanted[start : start + size] for start in range(0, len(wanted), size or 1)]
        for each in parts:
            mark = Part(halves)
            for entry in each:
                entry.part = mark
        return parts
