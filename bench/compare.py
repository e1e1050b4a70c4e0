"""Is the default as good as the best fixed setting? Pure: visits in, ratio with its interval out.

A visit is one measurement of one setting in one round; all settings have as many, in fine turns, because the machine
is not as fast now as it will be in a minute. Who is chosen as the best by the same visits has been lucky in them: with
a noise of 2 % he looks a percent too good, and with that of a 99th percentile twice as good. `crossed` is free of that.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

DRAWS = 500
HALVES = 100


@dataclass(frozen=True)
class Metric:
    """What a cell is judged by. `bar`: the default's value as a multiple of the best's must reach, or not pass it.

    `one`: a visit's value, the visit being latencies and answers/s; `all`: that of many.
    """

    name: str
    more_is_better: bool
    bar: float | None
    one: Callable
    all: Callable
    compared: Callable
    """The default's visits and another setting's -> ratio."""

    def rank(self, visits):
        """Settings, the best first. `visits`: setting -> visits."""
        return sorted(visits, key=lambda setting: self.all(visits[setting]), reverse=self.more_is_better)

    def ratio(self, default, best):
        """(default / best, and where 95 % of the ratios of resampled rounds lie)."""
        rounds = np.random.default_rng(1).integers(0, len(default), (DRAWS, len(default)))
        drawn = [self.compared([default[at] for at in each], [best[at] for at in each]) for each in rounds]
        low, high = np.quantile(drawn, [0.025, 0.975], method="nearest")
        return float(self.compared(default, best)), float(low), float(high)

    def crossed(self, visits, default):
        """default / best, who is chosen in half of the rounds and compared in the others; the median of many halves.

        `visits`: setting -> visits.
        """
        others = {setting: each for setting, each in visits.items() if setting != default}
        random, count, found = np.random.default_rng(2), len(visits[default]), []
        for _ in range(HALVES if count > 1 else 0):
            order = random.permutation(count)
            chosen_in, seen_in = order[: count // 2], order[count // 2 :]
            best = self.rank({setting: [each[at] for at in chosen_in] for setting, each in others.items()})[0]
            found.append(self.compared([visits[default][at] for at in seen_in], [others[best][at] for at in seen_in]))
        return float(np.median(found)) if found else math.nan

    def verdict(self, ratio, low, high):
        """Against the bar, where "?" says that the interval holds it."""
        if self.bar is None:
            return ""
        good = ratio >= self.bar if self.more_is_better else ratio <= self.bar
        return ("ok" if good else "worse") + ("?" if low < self.bar < high else "")

    def loss(self, ratio):
        """How many times worse than the best."""
        return 1 / ratio if self.more_is_better else ratio


def _rate(visit):
    return visit.throughput


def _median_rate(visits):
    return float(np.median([visit.throughput for visit in visits]))


def _by_pairs(default, best):
    """The median of the rounds' ratios."""
    return np.median([one.throughput / other.throughput for one, other in zip(default, best, strict=True)])


def _p99_ms(visit):
    return float(np.quantile(visit.latencies, 0.99, method="nearest")) * 1e3


def _p99_of_all_ms(visits):
    return float(np.quantile(np.concatenate([visit.latencies for visit in visits]), 0.99, method="nearest")) * 1e3


def _of_all(default, best):
    """Infinite is who never answered: where neither has an end they are equal."""
    one, other = _p99_of_all_ms(default), _p99_of_all_ms(best)
    return 1.0 if np.isinf(one) and np.isinf(other) else one / other


THROUGHPUT = Metric("answers/s", True, 0.97, _rate, _median_rate, _by_pairs)
P99 = Metric("p99 ms", False, None, _p99_ms, _p99_of_all_ms, _of_all)
P99_BAR = Metric("p99 ms", False, 1.1, _p99_ms, _p99_of_all_ms, _of_all)
