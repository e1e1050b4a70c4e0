"""What is believed of a size of batch, when its neighbours say something else.

Of many sizes that are measured under load some seem quicker than they are, and the best of them is the one with the
most luck. So each size is drawn to what its neighbours let expect, as far as luck explains by how much it differs: a
step or a knee, which it does not explain, stays as it is. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log
from typing import NamedTuple

NEAR = 1.5
"""Neighbours are sizes up to so many times as large, or as small."""
DOUBT = 2.0
"""Differences of so many standard errors are believed by half."""
APART = 8
"""More runs than this say no more: those of one size follow each other, and what disturbs one disturbs the next."""
MOMENT = 0.25
"""Standard deviation of the logarithm of a run that is the only one: the level of its moment may not have been known.
Of n runs it is the n-th part."""
USUAL = 0.05
"""Standard deviation of the logarithm of a run, where fewer than `ENOUGH` tell."""
ENOUGH = 32
QUARTILES = 1.35
"""Standard deviations from the lower quartile to the upper one."""


class Known(NamedTuple):
    """Seconds of a batch of `rows`, the median of so many runs."""

    rows: int
    seconds: float
    runs: int


def spread(noise: Sequence[float]) -> float:
    """Standard deviation of the logarithm of these factors, by their quartiles: without outliers."""
    if len(noise) < ENOUGH:
        return USUAL
    ordered = sorted(noise)
    return log(ordered[len(ordered) * 3 // 4] / ordered[len(ordered) // 4]) / QUARTILES


def smoothed(known: Sequence[Known], noise: float) -> list[tuple[int, float]]:
    """(rows, seconds) of each size, ascending as they are given. `noise`: standard deviation of a run's logarithm."""
    points = [(log(each.rows), log(each.seconds), each.runs) for each in known]
    reach = log(NEAR) + 1e-9
    found = []
    start = 0
    for at, (x, y, runs) in enumerate(points):
        while x - points[start][0] > reach:
            start += 1
        stop = at + 1
        while stop < len(points) and points[stop][0] - x <= reach:
            stop += 1
        seconds = known[at].seconds
        if start < at < stop - 1:  # it lies between neighbours
            expected = _expected(x, points[start:at] + points[at + 1 : stop])
            luck = DOUBT**2 * (noise**2 / min(runs, APART) + MOMENT**2 / runs**2)
            differs = (y - expected) ** 2
            seconds = exp(expected + (y - expected) * differs / (differs + luck)) if differs else seconds
        found.append((known[at].rows, seconds))
    return found


def _expected(x: float, points: Sequence[tuple[float, float, int]]) -> float:
    """On the line through the points that is nearest to all of them, by their weights."""
    weight = sum([w for _, _, w in points])
    middle = sum([w * px for px, _, w in points]) / weight
    height = sum([w * py for _, py, w in points]) / weight
    spread = sum([w * (px - middle) ** 2 for px, _, w in points])
    slope = sum([w * (px - middle) * (py - height) for px, py, w in points]) / spread if spread else 0.0
    return height + slope * (x - middle)
