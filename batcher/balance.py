"""Does waiting for company pay? An account of it, kept while a plan that waits is in force.

A plan is made for the load that was; when another comes, what it waits for may stay away, and the next plan takes its
time on a core that is full. Of every wait it is seen what it saved: the batches that would have run without it, one of
those who were there and one of those who came, against the one that ran, less the time for which the device idled.
Who waits for the right company gains every time or now and then, and much more than he risks; who waits for nobody
loses every time. Pure: times are passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import NamedTuple

from batcher.decide import BUSY, Dispatch, WaitUntil

DEBT = 8.0
"""Times the seconds of a row alone that waiting may have cost more than it saved..."""
MEMORY = 32
"""...in about so many waits: what costs a little each time may still be good for the slowest requests."""


class _Wait(NamedTuple):
    """Since when so many rows of a key have been held back; what share of the device has idled for it."""

    since: float
    rows: int
    idle: float
    key: Hashable


class Balance:
    """Of one batcher. What was saved beyond what was lost does not count: it says nothing of another load."""

    def __init__(self) -> None:
        self._saved_s = 0.0
        self._wait: _Wait | None = None

    def overdrawn(
        self,
        now: float,
        rows: int,
        idle: float,
        verdict: Dispatch | WaitUntil,
        key: Hashable,
        seconds: Callable[[int], float],
    ) -> bool:
        """What was decided on `rows` waiting rows; true if nobody should be waited for any more.

        `idle`: share of the device that has nothing to do meanwhile. `seconds` expected of a batch, by rows.
        """
        wait = self._wait
        if isinstance(verdict, WaitUntil):
            if wait is None and verdict is not BUSY:
                self._wait = _Wait(now, rows, idle, key)
            return False
        if wait is None:
            return False
        self._wait = None
        if key != wait.key or rows < wait.rows:  # some have left, or it is about others
            return False
        together = min(rows, verdict.rows)
        first = min(wait.rows, together)
        saved_s = seconds(first) + seconds(together - first) - seconds(together) if together > first else 0.0
        before_s = self._saved_s * (1 - 1 / MEMORY)
        self._saved_s = min(0.0, before_s + saved_s - wait.idle * (now - wait.since))
        if self._saved_s > -DEBT * seconds(1):
            return False
        self._saved_s = 0.0
        return True
