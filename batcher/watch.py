"""Whether the load is still the one that the plan was made for, told from the batches alone.

Two numbers say it: the rows per batch and the batches per second. A full window of batches tells a change by half, the
beginning of one a much larger change, before many requests are served by a plan for others. A silence says nothing:
what comes after it is compared with what came before. Pure: times are passed in.
"""

from __future__ import annotations

WINDOW = 64
"""Batches."""
SURPRISE = 1.5
"""Factor by which one of the numbers differs from what it was at first: then the plan is for something else."""
QUICK = 16
"""Batches, or as many rows as were in so many, after which a change by `SHOCK` is seen already; they say what is usual
until there is a window..."""
FEW = 4
"""...but not from fewer batches."""
SHOCK = 2.5
PAUSE = WINDOW
"""It is a silence if so many batches would usually have ended meanwhile; two within `QUICK` are another load."""


class Watch:
    """Whether the rows per batch, or the batches per second, have changed since the plan was made."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew: what comes next is what is usual."""
        self._usual: tuple[float, float] | None = None
        self._settled = False
        """Whether it was seen for a whole window."""
        self._last = 0.0
        self._since_silence = 0
        self._long = _Span(-1.0)
        self._short = _Span(-1.0)

    def changed(self, now: float, rows: int, batches: int = 1) -> float:
        """So many batches have ended since the last call: 0, or `SURPRISE` or `SHOCK` if a number has changed by it.

        Said again and again until it is reset: whoever hears it may have no time just now.
        """
        long, short, usual = self._long, self._short, self._usual
        last, self._last = self._last, now
        silent = usual and self._since_silence >= QUICK and now - last > PAUSE * batches * usual[1]
        if long.start < 0 or silent:
            self._long, self._short = _Span(now), _Span(now)
            self._since_silence = 0
            return 0.0
        self._since_silence += batches
        long.batches += batches
        long.rows += rows
        short.batches += batches
        short.rows += rows
        if short.batches >= QUICK or (usual and short.batches >= FEW and short.rows >= QUICK * usual[0]):
            means = short.means(now)
            self._short = _Span(now)
            if usual and _differs(means, usual, SHOCK):
                return SHOCK
            self._usual = usual or means
        if long.batches < WINDOW:
            return 0.0
        means = long.means(now)
        self._long, self._short = _Span(now), _Span(now)
        if not self._settled or self._usual is None:
            self._usual, self._settled = means, True
        elif _differs(means, self._usual, SURPRISE):
            return SURPRISE
        return 0.0


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
