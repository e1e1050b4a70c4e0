"""Times at which requests are to be sent."""

from itertools import islice, pairwise
from math import exp

import pytest

from loadtest import rates, rhythms
from loadtest.load import Load, with_rate


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


def at(rate, rhythm="poisson", seed=1, seconds=10.0):
    """The times of a load with these rates."""
    return Load(1, 1.0, rhythm, seed, rates.parse(rate, seconds)).times()


def test_constant_times_are_as_far_apart_as_the_rate_says():
    assert first(at("4", "constant"), 5) == [0, 0.25, 0.5, 0.75, 1]


def test_poisson_gaps_are_exponential_and_the_rate_is_the_one_asked_for():
    times = first(at("2000", seed=3), 40_000)
    assert 40_000 / times[-1] == pytest.approx(2000, rel=0.01)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert kolmogorov_smirnov(gaps, lambda gap: 1 - exp(-2000 * gap)) < 1.63, "p < 0.01"


def test_constant_gaps_are_not_exponential():
    gaps = [later - earlier for earlier, later in pairwise(first(at("2000", "constant"), 1000))]
    assert kolmogorov_smirnov(gaps, lambda gap: 1 - exp(-2000 * gap)) > 5


def test_bursts_have_the_rate_asked_for_and_come_in_crowds():
    times = first(at("1000", "bursts"), 200_000)
    assert 200_000 / times[-1] == pytest.approx(1000, rel=0.1)
    counts = [0] * int(times[-1])
    for time in times:
        if int(time) < len(counts):
            counts[int(time)] += 1
    mean = sum(counts) / len(counts)
    dispersion = sum((count - mean) ** 2 for count in counts) / len(counts) / mean
    assert 6 < dispersion < 14


def within(times, start, end):
    return sum(start <= time < end for time in times)


def test_steps_change_the_rate_when_they_should_and_the_last_one_stays():
    times = first(at("100:10s,1000:1", "constant"), 5000)
    assert within(times, 0, 10) == 1000
    assert within(times, 10, 11) == within(times, 13, 14) == 1000


@pytest.mark.parametrize(
    ("rate", "halves"), [("0..1000", (1250, 3750)), ("1000..0", (3750, 1250)), ("0:5s,500", (0, 2500))]
)
def test_ramps_go_in_a_straight_line_over_the_run(rate, halves):
    times = first(at(rate, "constant"), 4999 if ".." in rate else 2500)
    assert within(times, 0, 5) == pytest.approx(halves[0], abs=1)
    assert within(times, 5, 10) == pytest.approx(halves[1], abs=1)


def test_a_ramp_has_a_rhythm_too():
    times = first(at("0..1000"), 5000)
    assert within(times, 0, 5) == pytest.approx(1250, rel=0.1)
    gaps = [later - earlier for earlier, later in pairwise(time for time in times if 9 < time < 10)]
    assert kolmogorov_smirnov(gaps, lambda gap: 1 - exp(-950 * gap)) < 1.63


def test_rates_that_end_at_zero_end():
    assert len(list(at("100:2s,0", "constant"))) == 200


def test_what_changes_begins_after_the_warm_up():
    load = Load(1, 1.0, "constant", 1, rates.parse("10:2s,20:2s", 4))
    times = first(load.times(lead_s=3.0), 100)
    assert [within(times, 0, 5), within(times, 5, 7)] == [50, 40]


def test_the_mean_rate_is_that_of_the_run_and_can_be_another():
    spells = rates.parse("0..1000:10s,500", 20)
    assert rates.mean(spells, 20) == 500
    twice = with_rate(Load(1, 500, "constant", 1, spells), 1000)
    assert rates.mean(twice.spells, 20) == 1000


@pytest.mark.parametrize("text", ["", "x", "5..", "1,2", "5:s", "-5", "1e3", "5..6..7", "5:1s,"])
def test_rates_that_mean_nothing_are_a_sentence(text):
    with pytest.raises(ValueError, match=f"^--rate {text}: "):
        rates.parse(text, 10)


def test_a_rate_of_nothing_is_a_sentence():
    with pytest.raises(ValueError, match="nothing is sent in a run of 10 s"):
        rates.parse("0:20s,5", 10)


def test_recorded_times_come_again_after_a_mean_gap_and_had_come_before():
    assert first(rhythms.recorded([5, 6, 9]), 7) == [0, 1, 4, 6, 7, 10, 12]
    assert first(rhythms.recorded([5, 6, 9], lead_s=2.5), 4) == [0.5, 2.5, 3.5, 6.5]


def test_the_same_seed_gives_the_same_times():
    assert first(at("5", seed=1), 9) == first(at("5", seed=1), 9) != first(at("5", seed=2), 9)
