"""Whether the load is still the one that the plan was made for, told from the batches alone.

Two numbers say it: the rows per batch and the batches per second. A full window of batches tells a change by half, the
beginning of one a much larger change, before many requests are served by a plan for others. Pure: times are passed in.
"""

from __future__ import annotations

WINDOW = 64
"""Batches."""
SURPRISE = 1.5
"""Factor by which one of the numbers differs from one window to the next: then the plan is for something else."""
QUICK = 16
"""Batches, or as many rows as were in so many, after which a change by `SHOCK` is seen already..."""
FEW = 4
"""...but not from fewer batches."""
SHOCK = 2.5


class Watch:
    """Whether the rows per batch, or the batches per second, have changed since the plan was made."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew: what comes next is what is usual."""
        self._before: tuple[float, float] | None = None
        self._long = _Span(-1.0)
        self._short = _Span(-1.0)

    def changed(self, now: float, rows: int) -> float:
        """Called for each batch: 0, or `SURPRISE` or `SHOCK` if one of the numbers has changed by as much."""
        long, short, before = self._long, self._short, self._before
        if long.start < 0:
            self._long, self._short = _Span(now), _Span(now)
            return 0.0
        long.batches += 1
        long.rows += rows
        short.batches += 1
        short.rows += rows
        if before is not None and (
            short.batches >= QUICK or (short.batches >= FEW and short.rows >= QUICK * before[0])
        ):
            if _differs(short.means(now), before, SHOCK):
                self.reset()
                return SHOCK
            self._short = _Span(now)
        if long.batches < WINDOW:
            return 0.0
        self._before = long.means(now)
        self._long, self._short = _Span(now), _Span(now)
        return SURPRISE if before is not None and _differs(self._before, before, SURPRISE) else 0.0


class _Span:
    """Batches since a time."""

    __slots__ = ("batches", "rows", "start")

    def __init__(self, start: float) -> None:
        self.start = start
        self.batches = self.rows = 0

    def means(self, now: float) -> tuple[float, float]:
        """Rows per batch, seconds per batch."""
        return self.rows / self.batches, (now - self.start) / self.batches


def _differs(found: tuple[float, float], before: tuple[float, float], factor: float) -> bool:
    return any(not 1 / factor < new / max(old, 1e-12) < factor for new, old in zip(found, before, strict=True))
