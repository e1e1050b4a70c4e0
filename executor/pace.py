"""How long a run of this model takes, learnt from the runs, so that cheap ones stay on the event loop.

Receives (work, seconds) of finished runs, answers what a run of that work is expected to take. Work is the number of
input elements; runs are kept in buckets of `work.bit_length()`. Pure: no clock, one owner (the event loop).
Invariants: 1. Nothing known, nothing cheap: the answer is infinity. 2. A larger bucket's time bounds a smaller one's,
and a smaller one's is scaled up linearly from the least work that it can hold, so a guess errs on the slow side.
3. One slow run among quick ones (the kernel took the core away) changes nothing; one past STALL_S counts at once.
"""

from __future__ import annotations

import math

LOOP_BUDGET_S = 200e-6
"""Longest expected run that is done on the event loop: past it a thread is the kinder place for the neighbours."""
STALL_S = 25 * LOOP_BUDGET_S
"""A run this long forgets the bucket's history: the loop was blocked for too long to wait for a second opinion."""


class Pace:
    """Expected seconds by amount of work. Not thread-safe."""

    __slots__ = ("_buckets",)

    def __init__(self) -> None:
        self._buckets: dict[int, tuple[float, float, float]] = {}
        """bucket -> (expected, the run before the last, the last)"""

    def record(self, work: int, seconds: float) -> None:
        """A run of `work` elements took `seconds`. What is expected next is the median of the last three."""
        bucket = work.bit_length()
        known = self._buckets.get(bucket)
        if known is None or seconds > STALL_S:
            self._buckets[bucket] = (seconds, seconds, seconds)
            return
        _, before, last = known
        low, high = (before, last) if before < last else (last, before)
        self._buckets[bucket] = (low if seconds < low else high if seconds > high else seconds, last, seconds)

    def expected(self, work: int) -> float:
        """Seconds that a run of `work` elements should take; infinity if nothing is known."""
        known = self._buckets.get(work.bit_length())
        return known[0] if known is not None else self._guess(work, work.bit_length())

    def _guess(self, work: int, bucket: int) -> float:
        larger = [expected for each, (expected, _, _) in self._buckets.items() if each > bucket]
        smaller = [each for each in self._buckets if each < bucket]
        guesses = [math.inf]
        if larger:
            guesses.append(min(larger))
        if smaller:
            nearest = max(smaller)
            least_work = 1 << max(nearest - 1, 0)
            guesses.append(self._buckets[nearest][0] * (work / least_work))
        return min(guesses)
