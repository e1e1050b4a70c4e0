"""What the plan never does is done now and then, to learn what it costs: the plan may be wrong.

Pure; counts batches. One owner.
"""

from __future__ import annotations

from collections.abc import Callable

BESIDE = 64
"""After so many batches one that waits for another to end goes beside it instead; then after twice as many each
time..."""
SELDOM = 1024
"""...up to so many: both are slow, and the slowest hundredth of the requests makes the 99th percentile."""
LARGER = 256
"""One in so many batches has up to twice the rows that the plan wants, if more wait. If that costs as much as several
batches it is one in as many times their square: so many are late, each by so much."""


class Explorer:
    """Counts the batches of one plan, and of the plans that have as many in flight."""

    def __init__(self) -> None:
        self._as_planned = 0
        """Batches since one had more rows than planned."""
        self.anew()

    def anew(self) -> None:
        """What batches beside each other cost is not known any more, or is asked of another number."""
        self._beside_in = self._beside_after = BESIDE

    def started(self) -> None:
        """A batch begins."""
        self._beside_in -= 1
        self._as_planned += 1

    def beside(self) -> bool:
        """Whether a batch that would wait for another to end goes beside it."""
        if self._beside_in > 0:
            return False
        self._beside_in = self._beside_after = min(2 * self._beside_after, SELDOM)
        return True

    def larger(self, planned: int, most: int, seconds: Callable[[int], float]) -> int:
        """Rows of a batch for which `planned` are planned, where there are `most`: usually as many."""
        if self._as_planned < LARGER:
            return planned
        more = min(2 * planned, most)
        batches = (seconds(more) - seconds(planned) * more / planned) / seconds(planned)
        if self._as_planned < LARGER * batches**2:
            return planned
        self._as_planned = 0
        return more
