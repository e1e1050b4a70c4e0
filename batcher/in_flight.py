"""How many batches are in flight, now and on average over a time. Pure: times are passed in."""

from __future__ import annotations


class InFlight:
    """Counts. `count` is what is in flight."""

    __slots__ = ("_busy_s", "_since", "count")

    def __init__(self) -> None:
        self.count = 0
        self._busy_s = 0.0
        self._since = 0.0

    def change(self, now: float, by: int) -> float:
        """`by` batches more are in flight from now on. Returns the sum over all batches of the seconds they were."""
        self._busy_s += self.count * (now - self._since)
        self._since = now
        self.count += by
        return self._busy_s
