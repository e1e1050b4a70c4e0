import random

import pytest

from loadtest.comparison import compare


def runs(per_s, ms, seed, count=20, noise=0.05):
    rng = random.Random(seed)

    def near(value):
        return value * rng.gauss(1, noise)

    return [
        {"per_s": near(per_s), "latency_ms": {"mean": near(ms), "p50": near(ms), "p99": near(3 * ms)}}
        for _ in range(count)
    ]


def verdicts(first, second):
    return {ratio.metric: ratio.verdict for ratio in compare(first, second)}


def test_what_is_faster_is_called_faster_and_the_other_way_round_slower():
    slow, fast = runs(1000, 2.0, 1), runs(1200, 1.6, 2)
    assert set(verdicts(slow, fast).values()) == {"faster"}
    assert set(verdicts(fast, slow).values()) == {"slower"}


def test_equals_differ_by_chance_only_and_that_is_said():
    shown = sum(
        verdicts(runs(1000, 2, seed), runs(1000, 2, 1000 + seed))["answers/s"] != "no difference shown"
        for seed in range(100)
    )
    assert shown <= 15, "95 % intervals of 20 values"


def test_the_interval_holds_the_true_ratio():
    held = 0
    for seed in range(100):
        ratio = compare(runs(1000, 2, seed), runs(1100, 2, 1000 + seed))[0]
        held += ratio.low <= 1.1 <= ratio.high
    assert held >= 85


def test_a_few_windows_are_no_comparison():
    with pytest.raises(ValueError, match="needs 4 windows of each, found 3 and 20: run for longer"):
        compare(runs(1, 1, 1, count=3), runs(1, 1, 1))
