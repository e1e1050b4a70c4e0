"""What a request that arrives now can expect: when it will be answered, by the learnt curve and what is before it.

Owned by one batcher, or by one simulation, and only if requests have deadlines. Told of batches as they begin and end.
Invariant: a request is let in only if it is expected to be through before its deadline, with a margin for the errors
that were made before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from math import exp, inf, sqrt
from typing import Protocol

from batcher.admission import form, most_in_time, start
from batcher.curve import Curve
from batcher.decide import Plan

REFRESH = 16
"""Batches after which the size of a full batch and the margin are looked at anew."""
KEPT = 64
"""Batches whose time was foretold, and by what factor wrongly."""
DOUBT = (1.0,) * 7 + (1.15,)
"""What these factors are taken for until there are any."""
SURE = 0.95
"""Share of the batches that are within the margin."""
MEMORY = 4.0
"""Full batches after which an arrival counts 1/e in the pace."""
ALERT = 2.0
"""Full batches for which a refusal is taken for overload: batches are of the best size then, whatever the plan says."""
SMOOTH = 1 / 64
"""Weight of a request in the mean of how long they can wait."""
GOOD = 0.97
"""A full batch is the largest with this share of the best rate: which is best is not known that well."""
FIT = 2.0
"""Full batches that must fit into that: the one that is running when a request arrives, and its own."""


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
        self._running: dict[int, tuple[float, int, float]] = {}
        """Number -> when it began, its rows, when it should be through."""
        self._errors = deque(DOUBT, maxlen=KEPT)
        self._pace = 0.0
        """Arrivals in rows, weighted by age; by the second, divided by `_memory_s`."""
        self._last = -inf
        self._refused = -inf
        self._patience_s = inf
        self.refresh()

    def refresh(self) -> None:
        """Look anew at what was learnt."""
        curve, top = self._learnt.curve, self._top
        ordered = sorted(self._errors)
        self._mean = sum(ordered) / len(ordered)
        self._excess = max(0.0, ordered[int(SURE * len(ordered))] - self._mean)
        self._k = min(self._learnt.plan.in_flight, len(curve.slowdown) - 1)
        self._factor = self._mean * curve.factor(self._k)
        longest = self._patience_s / FIT - self._excess * self.seconds(1)
        if self.seconds(top) > longest:
            top = most_in_time(longest, 1, top, self.seconds)
        sizes = [rows for rows, _, _ in curve.known() if rows < top]
        rates = [(rows / curve.seconds(rows), rows) for rows in (*sizes, top)]
        least = GOOD * max(rates)[0]
        self.full = max(rows for rate, rows in rates if rate >= least)
        self.full_s = self.seconds(self.full)
        self._memory_s = MEMORY * self.full_s

    def seconds(self, rows: int) -> float:
        """Expected of a batch, among as many others as the plan allows."""
        return self._learnt.curve.seconds(rows) * self._factor

    def began(self, number: int, now: float, rows: int) -> None:
        """A batch has begun."""
        self._running[number] = now, rows, now + self.seconds(rows)
        if not number % REFRESH:
            self.refresh()

    def ended(self, number: int, now: float) -> None:
        """A batch is through."""
        began, _, end = self._running.pop(number)
        self._errors.append((now - began) / (end - began) * self._mean)

    def late_by(self, now: float, ahead: int, rows: int, due: float) -> float:
        """By how much an arrival with `ahead` rows before it would miss `due`; 0 or less: it is let in."""
        if self._patience_s == inf:
            self._patience_s = due - now
            self.refresh()
        self._patience_s += SMOOTH * (due - now - self._patience_s)
        self._pace = self._pace * exp((self._last - now) / self._memory_s) + rows
        self._last = now
        k, full_s = self._k, self.full_s
        free = sorted([end if end > now else now for _, _, end in self._running.values()])
        free = free[-k:] if len(free) >= k else [now] * (k - len(free)) + free
        begin, mine = start(free, ahead, rows, self.full, full_s)
        mine = min(self.full, int(mine + self._pace / self._memory_s * (begin - now)))
        late = begin + self.seconds(mine) + self._excess * full_s * sqrt(2 + (begin - now) / full_s) - due
        if late > 0:
            self._refused = now
        return late

    def form(self, now: float, take: int, waiting: int, front: Iterable[tuple[float, int]]) -> tuple[int, int]:
        """See `admission.form`; a batch has the best size, not that of the plan, while there is overload."""
        if waiting >= self.full or waiting >= 2 * take or now - self._refused < ALERT * self.full_s:
            take = self.full
        return form(now, front, waiting, take, self.seconds)
