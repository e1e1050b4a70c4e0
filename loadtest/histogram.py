"""Latencies as an HdrHistogram: three digits from a microsecond to an hour, in a few kilobytes whatever the run.

The format and the class are those of HdrHistogram (hdrhistogram.org); what is added is many values at once.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from hdrh.histogram import HdrHistogram

HIGHEST_US = 3_600_000_000
DIGITS = 3


def empty() -> HdrHistogram:
    """Of microseconds."""
    return HdrHistogram(1, HIGHEST_US, DIGITS)


def record(histogram: HdrHistogram, seconds: Iterable[float]) -> None:
    """Add latencies. Above an hour is an hour."""
    us = np.clip(np.rint(np.fromiter(seconds, np.float64) * 1e6), 1, HIGHEST_US).astype(np.int64)
    for value, count in zip(*map(np.ndarray.tolist, np.unique(us, return_counts=True)), strict=True):
        histogram.record_value(value, count)


def quantile_ms(histogram: HdrHistogram, share: float) -> float:
    """Milliseconds that `share` of the latencies do not exceed; 0 if there are none."""
    return float(histogram.get_value_at_percentile(share * 100)) / 1e3 if histogram.get_total_count() else 0.0
