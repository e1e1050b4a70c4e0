"""The controller of other servers: a batch goes when it is full, or when its oldest request is old enough.

For comparison, and for those who want exactly that.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from batcher.decide import BUSY, Dispatch, Limits, WaitUntil


class Timer:
    """A `Controller`. Learns nothing; without a delay it dispatches whenever it may."""

    listens = False

    def __init__(self, limits: Limits, in_flight: int = 1) -> None:
        self.limits = limits
        self._rows = self.cut_rows = limits.max_batch_rows
        self._delay_s = limits.max_queue_delay_s
        self.in_flight = in_flight

    def arrived(self, now: float, rows: int, client: int, key: Hashable = ()) -> None:
        """See `Controller`."""

    def decide(self, now: float, rows: int, oldest: float, running: int, key: Hashable = ()) -> Dispatch | WaitUntil:
        """See `Controller`."""
        if running >= self.in_flight:
            return BUSY
        if rows >= self._rows:
            return Dispatch(self._rows, "full")
        ripe = oldest + self._delay_s
        if now >= ripe:
            return Dispatch(self._rows, "delay_limit" if self._delay_s else "at_once")
        return WaitUntil(ripe)

    def started(self, now: float, rows: int, running: int) -> None:
        """See `Controller`."""

    def finished(
        self, now: float, rows: int, seconds: float, running: float, clients: Sequence[int], key: Hashable = ()
    ) -> None:
        """See `Controller`."""
