"""What a request that arrives now can expect: when it will be answered, by the learnt curve and what is before it.

Owned by one batcher, or by one simulation, and only if requests have deadlines. Told of batches as they begin and end.
Invariant: a request is let in only if it is expected to be through before its deadline, with a margin for the noise
that was seen.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import exp, inf, sqrt
from typing import Protocol

from batcher.admission import form, start
from batcher.curve import Curve
from batcher.decide import Plan
from batcher.sizes import best_rows

REFRESH = 64
"""Batches after which the size of a full batch and the noise are looked at anew."""
SURE = 0.9
"""Share of the batches that are within the margin."""
MEMORY = 4.0
"""Full batches after which an arrival counts 1/e in the pace."""
ALERT = 2.0
"""Full batches for which a refusal is taken for overload: batches are of the best size then, whatever the plan says."""


class Learnt(Protocol):
    """What a learning controller knows."""

    @property
    def curve(self) -> Curve: ...

    @property
    def plan(self) -> Plan: ...


class Outlook:
    """`top`: the most rows that a batch may have."""

    def __init__(self, learnt: Learnt, top: int) -> None:
        self._learnt = learnt
        self._top = top
        self._running: dict[int, tuple[float, int]] = {}
        self._pace = 0.0
        """Arrivals, weighted by age, in rows; the rate is this by `_memory_s`."""
        self._last = -inf
        self._refused = -inf
        self._refresh()

    def _refresh(self) -> None:
        curve = self._curve = self._learnt.curve
        table = curve.table(self._top)
        self.full = best_rows(table)
        self._k = min(self._learnt.plan.in_flight, len(curve.slowdown) - 1)
        self.full_s = curve.seconds(self.full) * curve.factor(self._k)
        self._memory_s = MEMORY * self.full_s
        noise = sorted(curve.noise())
        self._mean = sum(noise) / len(noise)
        self._excess = max(0.0, noise[min(len(noise) - 1, int(SURE * len(noise)))] - self._mean)
        self._table = [seconds * self._mean for seconds in table]

    def began(self, number: int, now: float, rows: int) -> None:
        """A batch has begun."""
        self._running[number] = now, rows
        if not number % REFRESH:
            self._refresh()

    def ended(self, number: int) -> None:
        """A batch is through."""
        del self._running[number]

    @property
    def overloaded(self) -> float:
        return self._refused

    def late_by(self, now: float, ahead: int, rows: int, due: float) -> float:
        """By how much an arrival with `ahead` rows before it would miss `due`; 0 or less: it is let in."""
        self._pace = self._pace * exp((self._last - now) / self._memory_s) + rows
        self._last = now
        table, running = self._table, self._running
        k = self._k
        free = sorted([max(now, began + self._seconds(size)) for began, size in running.values()])
        free = free[-k:] if len(free) >= k else [now] * (k - len(free)) + free
        begin, mine = start(free, ahead, rows, self.full, self.full_s * self._mean)
        mine = min(self.full, int(mine + self._pace / self._memory_s * (begin - now)))
        batches = 2 + (begin - now) / self.full_s
        late = begin + table[mine] + self._excess * self.full_s * sqrt(batches) - due
        if late > 0:
            self._refused = now
        return late

    def _seconds(self, rows: int) -> float:
        return self._table[rows] if rows < len(self._table) else self._curve.seconds(rows)

    def form(self, now: float, take: int, waiting: int, front: Iterable[tuple[float, int]]) -> tuple[int, int]:
        """See `admission.form`; a batch has the best size, not that of the plan, while there is overload."""
        if now - self._refused < ALERT * self.full_s:
            take = self.full
        return form(now, front, waiting, take, self._seconds)
