"""Requests of different lengths in one batch: which of those that wait, how they are put together, what it costs.

Owned by the batcher of a model that is padded. Invariants: 1. Whose turn it is is in the batch, so that nobody waits
for longer than it takes those before him to run, however odd his length. 2. Everybody's answer is as long as the
request was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from batcher.assemble import concat, cut_back, pad
from batcher.entry import Entry
from batcher.partition import company
from batcher.work import Work
from headrace.padding import Padding
from headrace.requests import Array

SHARES = 16
"""Batches over which the share of what waits that they take is averaged, about."""
MOST = 0.9
"""With less than this share in a batch the next one waits already."""


class Lengths:
    """`work` knows what a batch costs."""

    def __init__(self, padding: Padding, work: Work) -> None:
        self.work = work
        self._padding = padding
        self._share = 1.0
        self.leaves_some = False
        """Whether there is something to do while a batch runs or is waited for: part of what waits is not in it."""

    def choose(self, waiting: Sequence[Entry], most_rows: int) -> list[Entry]:
        """Those that make a batch: the first, and others in their order. One that is too large goes alone."""
        rows_of: dict[int, int] = {}
        for entry in waiting:
            rows_of[entry.length] = rows_of.get(entry.length, 0) + entry.rows
        shortest = longest = waiting[0].length
        if len(rows_of) > 1:
            shortest, longest = company(sorted(rows_of.items()), shortest, most_rows, self.work.costs.terms)
        batch: list[Entry] = []
        rows = 0
        for entry in waiting:
            if shortest <= entry.length <= longest:
                if batch and rows + entry.rows > most_rows:
                    break
                batch.append(entry)
                rows += entry.rows
        share = rows / max(1, min(sum(rows_of.values()), most_rows))
        self._share += (min(share, 1.0) - self._share) / SHARES
        self.leaves_some = self._share < MOST
        return batch

    def concat(self, batch: Sequence[Entry]) -> Mapping[str, Array]:
        """The inputs of the whole batch, filled up to the longest."""
        parts, lengths = [entry.inputs for entry in batch], [entry.length for entry in batch]
        if min(lengths) == max(lengths):
            return concat(parts)
        return pad(parts, lengths, self._padding.inputs)

    def cut_back(self, batch: Sequence[Entry], parts: Sequence[dict[str, Array]]) -> list[dict[str, Array]]:
        """The outputs of each entry, as long as its inputs were."""
        longest = max([entry.length for entry in batch])
        return [
            part if entry.length == longest else cut_back(part, entry.length, self._padding.outputs)
            for entry, part in zip(batch, parts, strict=True)
        ]

    def describe(self) -> dict[str, Any]:
        """Values of JSON, units in the names."""
        shares = {"taken_share": round(self._share, 4), "padded_share": round(self.work.padded_share, 4)}
        return self.work.describe() | shares
