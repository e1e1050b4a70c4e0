"""Times at which requests are to be sent."""

from itertools import islice, pairwise
from math import exp

import pytest

from loadtest import rhythms


def first(times, count):
    return list(islice(times, count))


def kolmogorov_smirnov(values, distribution):
    """The largest distance of the empirical distribution, times the root of the number of values."""
    ordered = sorted(values)
    count = len(ordered)
    distances = (
        max((at + 1) / count - distribution(value), distribution(value) - at / count)
        for at, value in enumerate(ordered)
    )
    return max(distances) * count**0.5


def test_constant_times_are_as_far_apart_as_the_rate_says():
    assert first(rhythms.constant(4), 5) == [0, 0.25, 0.5, 0.75, 1]


def test_poisson_gaps_are_exponential_and_the_rate_is_the_one_asked_for():
    times = first(rhythms.poisson(2000, seed=3), 40_000)
    assert 40_000 / times[-1] == pytest.approx(2000, rel=0.01)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert kolmogorov_smirnov(gaps, lambda gap: 1 - exp(-2000 * gap)) < 1.63, "p < 0.01"


def test_constant_gaps_are_not_exponential():
    gaps = [later - earlier for earlier, later in pairwise(first(rhythms.constant(2000), 1000))]
    assert kolmogorov_smirnov(gaps, lambda gap: 1 - exp(-2000 * gap)) > 5


def test_bursts_have_the_rate_asked_for_and_come_in_crowds():
    times = first(rhythms.bursts(1000, seed=1, dispersion=10), 200_000)
    assert 200_000 / times[-1] == pytest.approx(1000, rel=0.1)
    counts = [0] * int(times[-1])
    for time in times:
        if int(time) < len(counts):
            counts[int(time)] += 1
    mean = sum(counts) / len(counts)
    dispersion = sum((count - mean) ** 2 for count in counts) / len(counts) / mean
    assert 6 < dispersion < 14


def test_steps_and_ramps_change_the_rate_when_they_should():
    times = first(rhythms.steps([(10, 100), (1, 1000)], seed=1), 5000)
    before = sum(time < 10 for time in times)
    assert before == pytest.approx(1000, rel=0.1)
    assert (5000 - before) / (times[-1] - 10) == pytest.approx(1000, rel=0.1)
    ramp = first(rhythms.ramp(0, 1000, 10, seed=1), 5000)
    assert sum(time < 5 for time in ramp) == pytest.approx(1250, rel=0.1)


def test_recorded_times_come_again_after_a_mean_gap():
    assert first(rhythms.recorded([5, 6, 9]), 7) == [0, 1, 4, 6, 7, 10, 12]


def test_the_same_seed_gives_the_same_times():
    assert first(rhythms.poisson(5, 1), 9) == first(rhythms.poisson(5, 1), 9) != first(rhythms.poisson(5, 2), 9)
