"""Is the default as good as the best fixed setting? Pure: visits in, ratio with its interval out.

A visit is one measurement of one setting in one round; all settings have as many, interleaved, and visits are compared
in pairs. The best is chosen by its median over the same visits: with a noise of 2 % it looks a percent too good.
"""

from dataclasses import dataclass

import numpy as np

DRAWS = 2000


@dataclass(frozen=True)
class Metric:
    """What a cell is judged by. `bar`: the default's value as a multiple of the best's must reach, or not pass it."""

    name: str
    more_is_better: bool
    bar: float | None

    def rank(self, visits):
        """Settings, the best first. `visits`: setting -> values."""
        return sorted(visits, key=lambda setting: np.median(visits[setting]), reverse=self.more_is_better)

    def verdict(self, ratio, low, high):
        """Against the bar, where "?" says that the interval holds it."""
        if self.bar is None:
            return ""
        good = ratio >= self.bar if self.more_is_better else ratio <= self.bar
        return ("ok" if good else "worse") + ("?" if low < self.bar < high else "")

    def loss(self, ratio):
        """How many times worse than the best."""
        return 1 / ratio if self.more_is_better else ratio


THROUGHPUT = Metric("answers/s", more_is_better=True, bar=0.97)
P99 = Metric("p99 ms", more_is_better=False, bar=None)
P99_BAR = Metric("p99 ms", more_is_better=False, bar=1.1)


def ratio(default, best):
    """(default / best, and where 95 % of the ratios of resampled visits lie): medians over visits."""
    default, best = np.array(default), np.array(best)
    drawn = np.random.default_rng(1).integers(0, len(default), (DRAWS, len(default)))
    ratios = _ratio(np.median(default[drawn], axis=1), np.median(best[drawn], axis=1))
    low, high = np.quantile(ratios, [0.025, 0.975], method="nearest")
    return float(_ratio(np.median(default), np.median(best))), float(low), float(high)


def _ratio(one, other):
    """Where neither has an end (both infinite) they are equal."""
    both = np.isinf(one) & np.isinf(other)
    with np.errstate(invalid="ignore"):
        return np.where(both, 1.0, np.asarray(one) / np.asarray(other))
