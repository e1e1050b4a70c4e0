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

    __slots__ = ("_expected", "_last_two")

    def __init__(self) -> None:
        self._last_two: dict[int, tuple[float, float]] = {}
        self._expected: dict[int, float] = {}

    def record(self, work: int, seconds: float) -> None:
        """A run of `work` elements took `seconds`. What is expected next is the median of the last three."""
        bucket = work.bit_length()
        last_two = self._last_two.get(bucket)
        if last_two is None or seconds > STALL_S:
            self._last_two[bucket] = (seconds, seconds)
            self._expected[bucket] = seconds
            return
        before, last = last_two
        low, high = (before, last) if before < last else (last, before)
        self._expected[bucket] = low if seconds < low else high if seconds > high else seconds
        self._last_two[bucket] = (last, seconds)

    def expected(self, work: int) -> float:
        """Seconds that a run of `work` elements should take; infinity if nothing is known."""
        bucket = work.bit_length()
        known = self._expected.get(bucket)
        return self._guess(work, bucket) if known is None else known

    def _guess(self, work: int, bucket: int) -> float:
        larger = [seconds for each, seconds in self._expected.items() if each > bucket]
        smaller = [each for each in self._expected if each < bucket]
        guesses = [math.inf]
        if larger:
            guesses.append(min(larger))
        if smaller:
            nearest = max(smaller)
            least_work = 1 << max(nearest - 1, 0)
            guesses.append(self._expected[nearest] * (work / least_work))
        return min(guesses)
