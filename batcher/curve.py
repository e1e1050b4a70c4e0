"""How long a batch takes, by its rows and by how many are in flight beside it, learnt from those that ran.

Nothing is assumed of the shape: it may have steps (padded or compiled sizes) or a ceiling past which the rate falls.
Sizes that never ran are interpolated. What is learnt is a shape, by sizes, and a level, the same for all. Pure: no
clock, one owner. Invariants: 1. One outlier changes nothing: of each size the median of the last `KEPT` runs counts.
2. What changes for all sizes at once (a slower clock, a neighbour) is seen in any run, moves the level, and is not
taken for what batches in flight cost each other. 3. When it is over the level comes back, for sizes that did not run
meanwhile too.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from math import exp, log
from statistics import median

from batcher.smooth import Known, smoothed, spread

KEPT = 31
"""Runs per size of which the median counts."""
EXACT = 64
"""Up to this size each has its own place; above, places are 1/32 of a power of two apart."""
NOISE_KEPT = 101
KNOWN = 5
"""Runs after which a size says whether all has become slower: of fewer it may be known wrongly itself."""
ALIKE = 4
"""Runs in a row that must all be slower, or all quicker, by more than `DRIFT` before the whole curve is moved."""
ALIKE_ALONE = 2
"""So many of them at least must have run alone: else it may be the neighbours."""
SETTLED = 16
"""Runs beside others after which they too say whether all has become slower: it is not the neighbours who change."""
DRIFT = 1.25
WINDOW = 16
"""Runs alone after which the level follows their median, and the shape what they differ by from that."""
ALONE = 1.01
"""Fewer batches in flight on average are one, but for rounding."""
SAMPLED = 7
"""Of sizes that are well known, one run in eight is learnt from; it is a bit mask."""
OUTLIER = 4.0
"""Noise is cut to this factor, and its inverse."""
TRUST_AFTER = 32
UNTRUSTED = 2.0
"""If the upper quartile of the noise is this many times the lower, nothing is foretold."""


def place(rows: int) -> int:
    """The size under which a batch of `rows` is remembered: not smaller, at most 1/32 larger."""
    if rows <= EXACT:
        return rows
    step = 1 << (rows.bit_length() - 6)
    return -(-rows // step) * step


class Curve:
    """Expected seconds of a batch. `slots`: batches that the executor takes at once."""

    def __init__(self, slots: int = 1) -> None:
        self.runs = 0
        self.level = 1.0
        self.drifts = 0
        """How often the level was moved."""
        self.moved = 1.0
        """By which factor in all; whoever has seen it sets it to 1."""
        self.slowdown = [1.0, *map(float, range(1, slots + 1))]
        """By batches in flight, from 0: by how much longer each takes; until it is learnt, as on one core."""
        self._beside = [1.0] * (slots + 1)
        """Runs from which it was learnt; what it was before counts as one."""
        self._agreed: list[float] | None = None
        """What it was when a run alone last took as long as expected; None: as it is."""
        self._runs: dict[int, deque[float]] = {}
        """By size: seconds alone, at a level of 1."""
        self._median: dict[int, float] = {}
        self._sizes: list[int] = []
        self._noise: deque[float] = deque(maxlen=NOISE_KEPT)
        self._held: list[tuple[int, float]] = []
        """Of the window, those that the shape is learnt from: (size, seconds alone)."""
        self._recent: list[tuple[float, int]] = []
        """The window: times as long as expected, and size."""
        self._streak: list[tuple[float, int]] = []
        self._streak_alone = 0
        """Runs alone, or as good as that, in the streak, however long it has become."""

    def measured(self, rows: int, seconds: float, runs: int = KNOWN) -> None:
        """Batches of `rows` were timed, with care, before any ran: as good as so many runs."""
        size = place(rows)
        if size not in self._runs:
            insort(self._sizes, size)
        self._runs[size] = deque([seconds / self.level] * runs, maxlen=KEPT)
        self._median[size] = seconds / self.level

    def ran(self, rows: int, seconds: float, running: float = 1.0) -> None:
        """A batch of `rows` took `seconds` while `running` batches were in flight on average, itself included."""
        self.runs += 1
        runs = self._runs.get(rows)
        if running < ALONE and runs is not None and len(runs) == KEPT:
            self._see(rows, seconds / (self.level * self._median[rows]))
            if self.runs & SAMPLED:
                return  # well known: not worth the time
        if rows >= 1 and seconds > 0:
            self._learn(rows, seconds, running)

    def _learn(self, rows: int, seconds: float, running: float) -> None:
        size = place(rows)
        alone = seconds / self.factor(running)
        if self._sizes:
            expected = self.seconds(size)
            self._noise.append(min(OUTLIER, max(1 / OUTLIER, alone / expected)))
            if running >= 1.5:
                settled = self._beside[min(round(running), len(self.slowdown) - 1)] >= SETTLED
                beside = seconds / self._between(self._agreed or self.slowdown, running)
                self._watch(size, beside / expected, alone=settled)
                self._learn_slowdown(running, seconds / self.seconds(size))
            elif size not in self._runs:
                self._watch(size, alone / expected, alone=True)
            elif size != rows or len(self._runs[size]) < KEPT:
                self._see(size, alone / expected)
        if size not in self._runs:
            self._runs[size] = deque(maxlen=KEPT)
            insort(self._sizes, size)
            self._keep(size, alone)
        elif running < 1.5:  # what ran alone says more
            self._held.append((size, alone))

    def _learn_shape(self) -> None:
        """The runs of a window belong to the level as it is now: what is left is the shape of their sizes.

        Only what these differ by from each other. What they have in common goes back into the level: else the two would
        wander off together, and away from the sizes that do not run.
        """
        counts = Counter(size for _, size in self._recent if self._is_known(size))
        before = {size: self._median[size] for size in counts}
        for size, alone in self._held:
            self._keep(size, alone)
        self._held.clear()
        logs = sum([count * log(self._median[size] / before[size]) for size, count in counts.items()])
        if logs:
            common = exp(logs / counts.total())
            self.level *= common
            for size in counts:
                self._runs[size] = deque((each / common for each in self._runs[size]), maxlen=KEPT)
                self._median[size] /= common

    def _keep(self, size: int, alone: float) -> None:
        runs = self._runs[size]
        runs.append(alone / self.level)
        # Of two the quicker: what goes wrong takes longer. Else neither, or all would seem to become slower.
        self._median[size] = median(runs) if len(runs) > 2 else min(runs)

    def _learn_slowdown(self, running: float, factor: float) -> None:
        """By what it is off, from each of the two numbers in flight next to `running` as much as it is near it."""
        if self._agreed is None:
            self._agreed = list(self.slowdown)
        below, share = self._next_to(running)
        off = 1 / factor - 1 / self._between(self.slowdown, running)
        for k, weight in ((below, 1 - share), (below + 1, share)):
            if k > 1 and weight:
                self._beside[k] += weight**2
                speed = 1 / self.slowdown[k] + max(0.1, 1 / self._beside[k]) * weight * off
                self.slowdown[k] = min(max(1 / max(speed, 1e-9), 0.5), 2.0 * k)

    def _is_known(self, size: int) -> bool:
        return len(self._runs.get(size, ())) >= KNOWN

    def _see(self, size: int, ratio: float) -> None:
        """A run alone took so many times as long as expected."""
        self._recent.append((ratio, size))
        if len(self._recent) == WINDOW:
            say = [each for each, its in self._recent if self._is_known(its)]
            middle = median(say) if len(say) >= ALIKE else 1.0
            if not 1 / DRIFT < middle < DRIFT:
                self._move(middle)
                return
            self.level *= middle
            self.moved *= middle
            self._learn_shape()
            self._recent.clear()
            ratio /= middle
        self._watch(size, ratio, alone=True)

    def _watch(self, size: int, ratio: float, *, alone: bool) -> None:
        """Move all that is known if the last few runs all say so, and enough of them `alone`, or as good as that.

        What was learnt of neighbours since a run alone was as expected is then forgotten: it was the same slowness.
        """
        streak = self._streak
        if 1 / DRIFT < ratio < DRIFT:
            if streak:
                streak.clear()
                self._streak_alone = 0
            if alone:
                self._agreed = None
            return
        if not self._is_known(size) and any(its == size for _, its in streak):
            return  # once: it may be the size
        streak.append((ratio, size))
        self._streak_alone += alone
        if len(streak) > ALIKE:
            del streak[0]
        if len(streak) < ALIKE or self._streak_alone < ALIKE_ALONE:
            return
        ratios = [each for each, _ in streak]
        if min(ratios) > DRIFT or max(ratios) < 1 / DRIFT:
            self._move(median(ratios))

    def _move(self, factor: float) -> None:
        self.level *= factor
        self.moved *= factor
        if self._agreed is not None:
            self.slowdown[:] = self._agreed
            self._agreed = None
        self._held.clear()
        self._recent.clear()
        self._streak.clear()
        self._streak_alone = 0
        self.drifts += 1

    def factor(self, running: float) -> float:
        """By how much longer a batch takes when `running` are in flight."""
        return self._between(self.slowdown, running)

    def _next_to(self, running: float) -> tuple[int, float]:
        """The whole number below, and how near `running` is to the one above."""
        below = min(int(running), len(self.slowdown) - 1)
        return (below, running - below) if below + 1 < len(self.slowdown) else (below, 0.0)

    def _between(self, slowdown: Sequence[float], running: float) -> float:
        """What takes turns are the speeds: between whole numbers they are averaged."""
        below, share = self._next_to(running)
        return 1 / ((1 - share) / slowdown[below] + share / slowdown[below + 1]) if share else slowdown[below]

    def seconds(self, rows: int) -> float:
        """Expected seconds of a batch of `rows` alone; 0 if nothing is known."""
        return self.level * self._shape(rows, self._median)

    def _shape(self, rows: int, medians: Mapping[int, float]) -> float:
        size = place(rows)
        found = medians.get(size)
        if found is not None:
            return found
        sizes = self._sizes
        if not sizes:
            return 0.0
        at = bisect_left(sizes, size)
        if at == 0:
            return medians[sizes[0]]
        if at < len(sizes):
            low, high = sizes[at - 1], sizes[at]
            return medians[low] + (size - low) / (high - low) * (medians[high] - medians[low])
        last = sizes[-1]
        if at == 1:
            return medians[last] * size / last
        before = sizes[-2]
        slope = max(0.0, (medians[last] - medians[before]) / (last - before))
        return medians[last] + slope * (size - last)

    def table(self, top: int, noise: Sequence[float] | None = None) -> list[float]:
        """What is believed of a batch of rows up to `top`, in seconds, less luck (`smooth`); item 0 is 0.

        `noise`: by which factors runs took longer than expected, if not this curve's own say it.
        """
        if not self._sizes:
            return [0.0] + [1e-9] * top
        known = [Known(size, max(self._median[size], 1e-9), len(self._runs[size])) for size in self._sizes]
        believed = dict(smoothed(known, spread(self._noise if noise is None else noise)))
        return [0.0, *(max(self.level * self._shape(rows, believed), 1e-9) for rows in range(1, top + 1))]

    def noise(self) -> Sequence[float]:
        """By which factors the last runs took longer than expected."""
        return list(self._noise) or [1.0]

    def trusted(self) -> bool:
        """Whether what it says is of use: the runs of one size take about the same time."""
        if len(self._noise) < TRUST_AFTER:
            return bool(self._sizes)
        ordered = sorted(self._noise)
        return ordered[len(ordered) * 3 // 4] < UNTRUSTED * ordered[len(ordered) // 4]

    def known(self) -> list[tuple[int, float, int]]:
        """(rows, seconds, runs remembered) of each size that ran."""
        return [(size, self.level * self._median[size], len(self._runs[size])) for size in self._sizes]
