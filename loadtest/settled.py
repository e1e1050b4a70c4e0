"""When may a run end? Once its numbers are known well enough: pure, windows in, yes or no out.

A number is known well enough when the interval in which its mean lies with 95 %, by Student's t over the windows,
reaches no further than a given share of the mean to either side. Looked at after each window, of which there must be
`FEWEST`: one lucky pair of windows that agree is no proof.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from hdrh.histogram import HdrHistogram

from loadtest.histogram import quantile_ms
from loadtest.tally import ClosedWindow

FEWEST = 5
T_95 = (
    12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13, 2.12, 2.11, 2.10, 2.09,
)  # fmt: skip
"""Student's t, two-sided 95 %, for 1, 2, ... degrees of freedom; 1.96 for more."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """Of one window."""

    per_s: float
    mean_ms: float
    p50_ms: float
    p99_ms: float


def numbers(window: ClosedWindow) -> Numbers:
    """What a window shows; latencies are 0 where it has no answer."""
    seen = HdrHistogram.decode(window.histogram)
    mean_ms = seen.get_mean_value() / 1e3 if window.ok else 0.0
    rate = window.ok / (window.end_s - window.start_s)
    return Numbers(rate, mean_ms, quantile_ms(seen, 0.5), quantile_ms(seen, 0.99))


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Where the mean lies with 95 %; None if there are fewer than three values."""
    if len(values) < 3:
        return None
    degrees = len(values) - 1
    t = T_95[degrees - 1] if degrees <= len(T_95) else 1.96
    mean, half = fmean(values), t * stdev(values) / len(values) ** 0.5
    return mean - half, mean + half


def settled(seen: Sequence[Numbers], share: float, *, rates: bool) -> bool:
    """Whether mean and p99 are known well enough, and with `rates` the answers per second.

    Those of an open load are what was asked for, and vary as it varies.
    """
    if len(seen) < FEWEST:
        return False
    metrics = [[each.mean_ms for each in seen], [each.p99_ms for each in seen]]
    if rates:
        metrics.append([each.per_s for each in seen])
    return all(_known(values, share) for values in metrics)


def _known(values: Sequence[float], share: float) -> bool:
    between, mean = interval(values), fmean(values)
    return between is not None and mean > 0 and between[1] - mean <= share * mean
