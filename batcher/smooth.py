"""What is believed of a size of batch, when its neighbours say something else.

Of many sizes that are measured under load some seem quicker than they are, and the best of them is the one with the
most luck. So each size is drawn to what its neighbours let expect, the more the fewer runs it has; a step that is real
keeps most of its height, since it has run as often as they have. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log
from typing import NamedTuple

NEAR = 1.5
"""Neighbours are sizes up to so many times as large, or as small."""
PRIOR = 8
"""Runs that what the neighbours let expect is worth."""


class Known(NamedTuple):
    """Seconds of a batch of `rows`, the median of so many runs."""

    rows: int
    seconds: float
    runs: int


def smoothed(known: Sequence[Known]) -> list[tuple[int, float]]:
    """(rows, seconds) of each size, ascending as they are given."""
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
            own = runs / (runs + PRIOR)
            seconds = exp(own * y + (1 - own) * _expected(x, points[start:at] + points[at + 1 : stop]))
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
