"""How many rows go through the stages of a pipeline at a time. Pure.

With `n` parts of `m` rows each, stages that take `t_s(m)` and hand on at once, a batch is through after

    sum over s of t_s(m)  +  (n - 1) * max over s of t_s(m)

Small parts keep all stages busy with one batch; but batches follow each other, and then only the slowest stage's rate
counts, m / max t_s(m). So: the least time among the sizes whose rate is nearly the best.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil

NEARLY = 0.95
"""Of the best rate."""


def micro_rows(seconds: Mapping[int, Sequence[float]], rows: int) -> int:
    """For a batch of so many `rows`, when parts of each key of `seconds` take its values in the stages."""
    sizes = [size for size in seconds if size <= rows] or [min(seconds)]
    best = max(size / max(seconds[size]) for size in sizes)
    good = [size for size in sizes if size / max(seconds[size]) >= NEARLY * best]
    return min(good, key=lambda size: (latency(seconds[size], ceil(rows / size)), -size))


def latency(stages: Sequence[float], parts: int) -> float:
    """Seconds until all parts are through."""
    return sum(stages) + (parts - 1) * max(stages)
