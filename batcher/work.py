"""What batches would have taken if their rows were of the mean length: the controller knows rows only.

Owned by the batcher of a model whose rows differ: padded to a length, or of several shapes, where the length of a row
is how many elements it has. Without it, what is more work would be taken for a slower machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from batcher.costs import Costs, Timed
from batcher.entry import Entry

REMEMBERED = 512
"""Rows over which the mean length is taken, about."""


class Work:
    """`seed`: (rows, length, seconds) of batches that were timed at load."""

    def __init__(self, seed: Iterable[Timed] = ()) -> None:
        self.costs = Costs(seed)
        self._mean = 0.0
        self._rows = 0
        self._real = self._padded = 0
        """Rows times length, of the requests and of their batches."""

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

    @property
    def padded_share(self) -> float:
        """Of what ran, how much was filled in."""
        return 1 - self._real / self._padded if self._padded else 0.0

    def describe(self) -> dict[str, Any]:
        """Values of JSON, units in the names."""
        terms = self.costs.terms
        return {
            "mean_length": round(self._mean, 2),
            "run_ms": terms.run * 1e3,
            "row_ms": terms.row * 1e3,
            "row_and_length_ms": terms.token * 1e3,
            "row_and_length_squared_ms": terms.square * 1e3,
        }
