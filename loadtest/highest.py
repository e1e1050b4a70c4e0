"""The highest rate at which criteria hold: double until they do not, then halve the interval. Pure, a step at a time.

    search = Highest(); while (rate := search.propose()) is not None: search.ran(rate, held)

A rate counts as one that holds only if it did in every run; near the end each is run again, so that one lucky or
unlucky run decides nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

TWICE = 2.0


@dataclass(slots=True)
class Highest:
    """`first`: the rate to begin with; `precision`: how close to each other, as a share, the last two rates are."""

    first: float
    precision: float = 0.05
    most_runs: int = 40
    _runs: dict[float, list[bool]] = field(default_factory=dict)

    def propose(self) -> float | None:
        """The rate to be run now; None if it is over."""
        if sum(map(len, self._runs.values())) >= self.most_runs:
            return None
        good, bad = self.best, self.worst
        if bad is None:
            return TWICE * good if good else self.first
        if good is None:
            return bad / TWICE if bad > self.first / 1e6 else None
        if bad / good > 1 + self.precision:
            return math.sqrt(good * bad)
        return next(self._unsure(good, bad), None)

    def ran(self, rate: float, *, held: bool) -> None:
        """What was found at this rate."""
        self._runs.setdefault(rate, []).append(held)

    @property
    def best(self) -> float | None:
        """The highest rate that holds, below the lowest that does not."""
        held = [rate for rate, runs in self._runs.items() if all(runs) and rate < (self.worst or float("inf"))]
        return max(held, default=None)

    @property
    def worst(self) -> float | None:
        """The lowest rate that does not hold."""
        return min((rate for rate, runs in self._runs.items() if _fails(runs)), default=None)

    def _unsure(self, good: float, bad: float) -> Iterator[float]:
        for rate in (good, bad):
            runs = self._runs[rate]
            if len(runs) < 2 or (len(set(runs)) > 1 and len(runs) < 3):
                yield rate


def _fails(runs: list[bool]) -> bool:
    """Most of them."""
    return runs.count(False) * 2 > len(runs)
