"""Requests of different lengths in one batch: which of those that wait, how they are put together, what it costs.

Owned by the batcher of a model that is padded. Invariants: 1. Whose turn it is is in the batch, so that nobody waits
for longer than it takes those before him to run, however odd his length. 2. Everybody's answer is as long as the
request was. The controller knows rows only: it is told what a batch would have taken at the mean length.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from batcher.assemble import concat, cut_back, pad
from batcher.costs import Costs, Timed
from batcher.entry import Entry
from batcher.partition import company
from headrace.padding import Padding
from headrace.requests import Array

REMEMBERED = 512
"""Rows over which the mean length is taken, about."""
SHARES = 16
"""Batches over which the share of what waits that they take is averaged, about."""
MOST = 0.9
"""With less than this share in a batch the next one waits already."""


class Lengths:
    """`seed`: (rows, length, seconds) of batches that were timed at load."""

    def __init__(self, padding: Padding, seed: Iterable[Timed] = ()) -> None:
        self.costs = Costs(seed)
        self._padding = padding
        self._mean = 0.0
        self._rows = 0
        self._share = 1.0
        self.leaves_some = False
        """Whether there is something to do while a batch runs or is waited for: part of what waits is not in it."""
        self._real = self._padded = 0
        """Rows times length, of the requests and of their batches."""

    def choose(self, waiting: Sequence[Entry], most_rows: int) -> list[Entry]:
        """Those that make a batch: the first, and others in their order. One that is too large goes alone."""
        rows_of: dict[int, int] = {}
        for entry in waiting:
            rows_of[entry.length] = rows_of.get(entry.length, 0) + entry.rows
        shortest = longest = waiting[0].length
        if len(rows_of) > 1:
            shortest, longest = company(sorted(rows_of.items()), shortest, most_rows, self.costs.terms)
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

    def ran(self, batch: Sequence[Entry], rows: int, seconds: float) -> float:
        """This batch took `seconds`. Returns what it would have taken if it had been of the mean length."""
        longest = max([entry.length for entry in batch])
        if not longest or not rows:
            return seconds
        real = sum([entry.rows * entry.length for entry in batch])
        self._real += real
        self._padded += rows * longest
        self._rows = min(self._rows + rows, REMEMBERED)
        self._mean += (real / rows - self._mean) * min(1.0, rows / self._rows)
        self.costs.ran(rows, longest, seconds)
        terms = self.costs.terms
        return seconds * terms.seconds(rows, round(self._mean)) / terms.seconds(rows, longest)

    def describe(self) -> dict[str, Any]:
        """Values of JSON, units in the names."""
        terms = self.costs.terms
        return {
            "mean_length": round(self._mean, 2),
            "taken_share": round(self._share, 4),
            "padded_share": round(1 - self._real / self._padded, 4) if self._padded else 0.0,
            "run_ms": terms.run * 1e3,
            "row_ms": terms.row * 1e3,
            "row_and_length_ms": terms.token * 1e3,
            "row_and_length_squared_ms": terms.square * 1e3,
        }
