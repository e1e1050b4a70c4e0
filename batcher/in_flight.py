"""How many batches are in flight, now and on average over a time. Pure: times are passed in."""

from __future__ import annotations

from typing import NamedTuple


class Mark(NamedTuple):
    """A moment: the time, and the sum over all batches of the seconds that they had been in flight by then."""

    time: float
    busy_s: float


class InFlight:
    """Counts. `count` is what is in flight."""

    def __init__(self) -> None:
        self.count = 0
        self._last = Mark(0.0, 0.0)

    def change(self, now: float, by: int) -> Mark:
        """`by` batches more are in flight from now on."""
        self._last = mark = Mark(now, self._last.busy_s + self.count * (now - self._last.time))
        self.count += by
        return mark

    @staticmethod
    def average(start: Mark, end: Mark) -> float:
        """Batches in flight between two moments; 1 if no time has passed."""
        return (end.busy_s - start.busy_s) / (end.time - start.time) if end.time > start.time else 1.0
