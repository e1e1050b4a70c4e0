"""What a request that arrives now can expect: when it will be answered, by the learnt curve and what is before it.

Owned by one batcher or one simulation, from the first request with a deadline on; told of batches as they begin and
end. Times are passed in. Invariants: 1. Who is let in is expected to be through before its deadline, with a margin for
the errors of the last expectations. 2. One request a second is let in to an executor that has nothing to do, whatever
is expected: nothing but a run can tell that a model is not that slow any more.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Hashable, Iterable
from math import exp, inf
from operator import itemgetter
from typing import Protocol

from batcher.admission import form, most_in_time, start
from batcher.curve import Curve
from batcher.decide import Dispatch, Plan, WaitUntil

REFRESH_S = 0.02
"""After which the rows of a full batch and the margin are looked at anew, at the end of a batch: 0.1 ms of work."""
KEPT = 32
"""Batches that are remembered: how long they took, and how many times as long as expected."""
DOUBT = (1.0,) * 7 + (1.15,)
"""What the latter is taken for until there are any."""
NEAR = 5
"""Of the last batches so many of the next smaller sizes, and so many of this or larger ones, correct the curve for a
size; or all of this size, if there are so many."""
MOST_MARGIN = 0.25
"""Share of the time that requests have which the margin may be: where runs are that uneven, some will be late."""
SURE = 0.95
"""Share of the batches that the margin is enough for."""
MEMORY = 4.0
"""Full batches after which an arrival counts 1/e in the pace of arrivals."""
ALERT = 2.0
"""Full batches for which a refusal is a sign of overload: batches are full then, whatever the plan says."""
SMOOTH = 1 / 64
"""Weight of a request in the mean of the times that are left on arrival."""
FIT = 2.0
"""Full batches that fit into that mean: the one that runs when a request arrives, and its own."""
GOOD = 0.97
"""A full batch is the largest with this share of the best rate: which is best is not known that well."""
TRY_EVERY_S = 1.0


class Learnt(Protocol):
    """What a learning controller knows. Its curve has at least one size."""

    @property
    def curve(self) -> Curve:
        """Seconds of a batch."""
        ...

    @property
    def plan(self) -> Plan:
        """What is in force."""
        ...


class Outlook:
    """`top`: the most rows that a batch may have."""

    def __init__(self, learnt: Learnt, top: int) -> None:
        self.top = top
        self._learnt = learnt
        self._running: dict[Hashable, tuple[float, float, int]] = {}
        """When each batch began, when it should be through, and its rows."""
        self._seconds: dict[int, float] = {}
        """By rows, since the last refresh."""
        self._took: deque[tuple[int, float]] = deque(maxlen=KEPT)
        """Rows and seconds of the last batches."""
        self._sizes: list[int] = []
        """Their rows, in order."""
        self._factors: list[float] = []
        """By what the curve was wrong for these."""
        self._errors = deque(DOUBT, maxlen=KEPT)
        self._refreshed = -inf
        self._pace = 0.0
        """Rows that arrived, weighted by age at the time `_aged`: the rate is this by `_memory_s`."""
        self._rows = 1.0
        """Mean of the arrivals that were read; the others are taken for this."""
        self._aged = self._refused = self._tried = -inf
        self.ends = 0
        """Batches that have ended."""
        self.patience_s = 0.0
        """Mean time that is left to requests when they arrive."""
        self.refresh()

    def refresh(self) -> None:
        """Look anew at what was learnt."""
        curve, top = self._learnt.curve, self.top
        errors = sorted(self._errors)
        self._excess = max(0.0, errors[int(SURE * len(errors))] - 1)
        self._in_flight = min(self._learnt.plan.in_flight, len(curve.slowdown) - 1)
        factors = [(rows, took_s / max(curve.seconds(rows), 1e-9)) for rows, took_s in reversed(self._took)]
        factors.sort(key=itemgetter(0))
        self._sizes = [rows for rows, _ in factors]
        self._factors = [factor for _, factor in factors]
        self._seconds.clear()
        if self.patience_s:
            longest_s = self.patience_s / FIT / (1 + min(self._excess, MOST_MARGIN))
            if self.seconds(top) > longest_s:
                top = most_in_time(longest_s, 1, top, self.seconds)
        sizes = [rows for rows, _, _ in curve.known() if rows < top]
        rates = [(rows / self.seconds(rows), rows) for rows in (*sizes, top)]
        least = GOOD * max(rates)[0]
        self.full = max(rows for rate, rows in rates if rate >= least)
        self.full_s = self.seconds(self.full)
        self._memory_s = MEMORY * self.full_s

    def seconds(self, rows: int) -> float:
        """Expected of a batch, among as many others as the plan allows."""
        found = self._seconds.get(rows)
        if found is None:
            curve = self._learnt.curve
            begin, end = bisect_left(self._sizes, rows), bisect_right(self._sizes, rows)
            if end - begin < NEAR:
                begin, end = max(0, begin - NEAR), begin + NEAR
            near = sorted(self._factors[begin:end])
            factor = near[len(near) // 2] if near else curve.factor(self._in_flight)
            found = self._seconds[rows] = curve.seconds(rows) * factor
        return found

    def began(self, batch: Hashable, now: float, rows: int) -> None:
        """A batch has begun; `batch` tells it from others that run."""
        self._running[batch] = now, now + self.seconds(rows), rows

    def ended(self, batch: Hashable, now: float, *, worked: bool = True) -> None:
        """It is through. What began before this object was made may end, too."""
        self.ends += 1
        times = self._running.pop(batch, None)
        if times is not None and worked and now > times[0]:
            began, end, rows = times
            self._took.append((max(rows, 1), now - began))
            self._errors.append((now - began) / max(end - began, 1e-9))
            if now - self._refreshed >= REFRESH_S:
                self._refreshed = now
                self.refresh()

    def expected(self, now: float, ahead: int, rows: int) -> float:
        """When `rows` rows that arrive now behind `ahead` others will be through, the margin included."""
        places, full, full_s = self._in_flight, self.full, self.full_s
        # What is overdue is taken to go on for as long as it is overdue.
        free = [end if end > now else now + now - end for _, end, _ in self._running.values()]
        if len(free) > 1:
            free.sort()
        if len(free) > places:
            del free[: len(free) - places]
        elif len(free) < places:
            free = [now] * (places - len(free)) + free
        begin, mine = start(free, ahead, rows, full, full_s)
        wait_s = begin - now
        if now > self._aged:
            self._pace *= exp((self._aged - now) / self._memory_s)
            self._aged = now
        mine += int(self._pace * wait_s / self._memory_s)  # those who will have come by then
        return begin + (self.seconds(mine) if mine < full else full_s) + self.margin_s(wait_s)

    def margin_s(self, wait_s: float) -> float:
        """What is added to the expectation of a request that waits so long, and then for a full batch.

        Errors are taken to go on: a machine that has slowed down has done so for all batches ahead.
        """
        return min(self._excess * (self.full_s + wait_s), MOST_MARGIN * self.patience_s)

    def late_by(self, now: float, ahead: int, rows: int, due: float) -> float:
        """By how much an arrival with `ahead` rows before it would miss `due`, in seconds; 0 or less: it is let in."""
        if not self.patience_s:
            self.patience_s = due - now
            self.refresh()
        late_s = self._misses_by(now, ahead, rows, due)
        self._rows += SMOOTH * (rows - self._rows)
        self._arrived(now, rows, due, late_s)
        return late_s

    def unread_late_by(self, now: float, ahead: int, due: float) -> float:
        """The same for one whose rows nobody knows yet, were it of one row; 0 or less: it is read, and asks again.

        So is one that `tries` may let in.
        """
        late_s = self._misses_by(now, ahead, 1, due)
        if late_s > 0:
            if self._may_try(now, ahead):
                return 0.0
            self._arrived(now, self._rows, due, late_s)
        return late_s

    def _misses_by(self, now: float, ahead: int, rows: int, due: float) -> float:
        late_s = self.expected(now, ahead, rows) - due
        if late_s > 0 and not ahead and len(self._running) < self._in_flight:
            late_s -= self.margin_s(0.0)  # better a risk than an executor that has nothing to do
        return late_s

    def _arrived(self, now: float, rows: float, due: float, late_s: float) -> None:
        self.patience_s += SMOOTH * (due - now - self.patience_s)
        self._pace += rows
        if late_s > 0:
            self._refused = now

    def tries(self, now: float, ahead: int) -> bool:
        """Whether one that would be late is let in all the same, for there is nothing else to learn from."""
        if not self._may_try(now, ahead):
            return False
        self._tried = now
        return True

    def _may_try(self, now: float, ahead: int) -> bool:
        return not (ahead or self._running or now - self._tried < TRY_EVERY_S)

    def form(self, now: float, take: int, waiting: int, front: Iterable[tuple[float, int]]) -> tuple[int, int]:
        """See `admission.form`. In overload, and with a backlog, a batch is a full one, whatever the plan says."""
        full = self.full
        if take < full and (waiting >= full or waiting >= 2 * take or self._in_overload(now)):
            take = full
        return form(now, front, waiting, take, self.seconds)

    def _in_overload(self, now: float) -> bool:
        return now - self._refused < ALERT * self.full_s

    def hurry(self, now: float, verdict: WaitUntil, rows: int, due: float) -> Dispatch | WaitUntil:
        """The same verdict on `rows` waiting rows, but that the first, with this deadline, is not kept for too long.

        In overload nobody is waited for. While the executor is busy, or without a deadline, nothing changes.
        """
        if inf in (verdict.time, due):
            return verdict
        if self._in_overload(now):
            return Dispatch(self.full, "deadline")
        latest = due - self.seconds(rows) * (1 + 2 * self._excess)
        if now >= latest:
            return Dispatch(self.full, "deadline")
        return verdict if verdict.time <= latest else WaitUntil(latest)
