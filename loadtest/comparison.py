"""Is one server faster than another? Ratios with an interval, and a plain word. Pure: findings in, sentences out.

The samples are the windows of a run (`compare`), or whole short runs of both in turns (`--versus`), which what else
happens on the machine meets alike. The interval is a bootstrap's: 95 % of the ratios of means of resampled values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from loadtest.findings import Findings

DRAWS = 4000
FEWEST = 4
"""Values of each that it takes."""
Verdict = Literal["faster", "slower", "no difference shown"]


@dataclass(frozen=True, slots=True)
class Ratio:
    """`value` of the second by that of the first, and where 95 % of the resampled ratios lie."""

    metric: str
    first: float
    second: float
    value: float
    low: float
    high: float
    more_is_better: bool

    @property
    def verdict(self) -> Verdict:
        """Of the second."""
        if self.low <= 1 <= self.high:
            return "no difference shown"
        return "faster" if (self.low > 1) == self.more_is_better else "slower"

    def __str__(self) -> str:
        between = f"{self.low:.3f} .. {self.high:.3f}"
        return (
            f"{self.metric:12} {self.first:12,.3f} {self.second:12,.3f}   {self.value:.3f}  ({between})  {self.verdict}"
        )


def windows(found: Findings) -> list[Findings]:
    """The whole windows of one run, each as if it were a run."""
    whole = [window for window in found["windows"] if window["end_s"] <= found["seconds"] + 1e-9]
    return [
        {
            "per_s": window["ok"] / (window["end_s"] - window["start_s"]),
            "latency_ms": {"mean": window["mean_ms"], "p50": window["p50_ms"], "p99": window["p99_ms"]},
        }
        for window in whole
    ]


def compare(first: Sequence[Findings], second: Sequence[Findings]) -> list[Ratio]:
    """Of answers/s and latencies. Raises ValueError if there are too few values."""
    if min(len(first), len(second)) < FEWEST:
        raise ValueError(
            f"a comparison needs {FEWEST} windows of each, found {len(first)} and {len(second)}: run for longer"
        )
    found = [_ratio("answers/s", [each["per_s"] for each in first], [each["per_s"] for each in second], better=True)]
    for name in ("mean", "p50", "p99"):
        values = ([each["latency_ms"][name] for each in runs] for runs in (first, second))
        found.append(_ratio(f"{name} ms", *values, better=False))
    return found


def _ratio(metric: str, first: Sequence[float], second: Sequence[float], *, better: bool) -> Ratio:
    one, two = np.asarray(first, float), np.asarray(second, float)
    random = np.random.default_rng(1)
    drawn: list[Any] = [each[random.integers(0, len(each), (DRAWS, len(each)))].mean(axis=1) for each in (one, two)]
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = np.nanquantile(drawn[1] / drawn[0], [0.025, 0.975], method="nearest")
        value = two.mean() / one.mean()
    return Ratio(metric, float(one.mean()), float(two.mean()), float(value), float(low), float(high), better)


HEAD = f"{'':12} {'first':>12} {'second':>12}   second / first (95 %)"
