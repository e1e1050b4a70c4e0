"""Loads are what their numbers say, and the same every time."""

from itertools import pairwise
from statistics import mean, pvariance

import pytest

from batcher import loads

MANY = 40_000
OPEN = {
    "poisson": lambda seed: loads.poisson(200, MANY, seed),
    "bursts": lambda seed: loads.bursts(200, MANY, seed, dispersion=10),
    "on_off": lambda seed: loads.on_off(200, MANY, seed, 0.1, 0.3),
    "sinusoid": lambda seed: loads.sinusoid(200, MANY, seed, period_s=10),
    "step": lambda seed: loads.step(200 / 5, MANY, seed, at_s=1e-9, times=5),
}


def counts(opens, window_s):
    found = [0] * int(opens[-1] / window_s)
    for at in opens:
        if at < len(found) * window_s:
            found[int(at / window_s)] += 1
    return found


def dispersion(opens, window_s):
    found = counts(opens, window_s)
    return pvariance(found) / mean(found)


@pytest.mark.parametrize("shape", OPEN)
def test_an_open_load_has_the_rate_that_was_asked_for(shape):
    opens = OPEN[shape](1).opens
    assert len(opens) == MANY
    assert all(a <= b for a, b in pairwise(opens))
    assert MANY / opens[-1] == pytest.approx(200, rel=0.1)


@pytest.mark.parametrize("shape", OPEN)
def test_the_seed_decides(shape):
    assert OPEN[shape](1).opens == OPEN[shape](1).opens
    assert OPEN[shape](1).opens != OPEN[shape](2).opens


@pytest.mark.parametrize("asked", [3, 10, 30])
def test_bursts_have_the_dispersion_that_was_asked_for(asked):
    found = mean(dispersion(loads.bursts(200, MANY, seed, asked).opens, window_s=2.0) for seed in range(4))
    assert found == pytest.approx(asked, rel=0.35)
    assert dispersion(loads.bursts(200, MANY, 1, 1).opens, 2.0) == pytest.approx(1, abs=0.3)


def test_on_off_leaves_silences_and_fills_the_rest():
    opens = loads.on_off(200, MANY, 1, on_s=0.1, off_s=0.3).opens
    silences = [b - a for a, b in pairwise(opens) if b - a > 0.05]
    assert sum(silences) / opens[-1] == pytest.approx(0.73, abs=0.08)


def test_a_sinusoid_is_ten_times_as_busy_at_noon_as_at_midnight():
    opens = loads.sinusoid(200, MANY, 1, period_s=10, ratio=10).opens
    hours = [0] * 10
    for at in opens:
        hours[int(at % 10)] += 1
    assert hours.index(max(hours)) in (4, 5)
    assert max(hours) / min(hours) == pytest.approx(8.5, rel=0.25)


def test_a_step_multiplies_the_rate_from_its_time_on():
    found = counts(loads.step(100, 6000, 1, at_s=10, times=5).opens, 5.0)
    assert found[:2] == pytest.approx([500, 500], rel=0.15)
    assert found[2:4] == pytest.approx([2500, 2500], rel=0.1)


@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0])
def test_clients_think_as_long_as_was_asked_for(spread):
    load = loads.closed(16, 0.005, MANY, 1, spread)
    assert load.clients == 16
    assert mean(load.thinks) == pytest.approx(0.005, rel=0.05)
    assert pvariance(load.thinks) ** 0.5 == pytest.approx(0.005 * spread, rel=0.05)


def test_a_recording_goes_round_with_a_mean_gap_between_the_rounds():
    assert loads.recorded([7.0, 8.0, 11.0], 7).opens == [0.0, 1.0, 4.0, 6.0, 7.0, 10.0, 12.0]


def test_what_is_drawn_anew_has_the_rate_and_the_bursts_of_what_was_seen():
    seen = loads.bursts(200, 2048, 1, dispersion=10).opens
    anew = loads.redrawn(seen, MANY)
    assert len(anew) == MANY
    assert all(a <= b for a, b in pairwise(anew))
    assert MANY / anew[-1] == pytest.approx(2048 / seen[-1], rel=0.1)
    assert dispersion(anew, 0.1) == pytest.approx(dispersion(seen, 0.1), rel=0.3)
    assert anew[: len(seen)] != seen


@pytest.mark.parametrize("opens", [[], [0.0]])
def test_of_less_than_two_requests_nothing_can_be_drawn(opens):
    assert loads.redrawn(opens, 100) == opens


def test_twice_the_traffic_is_twice_as_fast_and_twice_the_clients():
    load = loads.scaled(loads.Load([0.0, 1.0], clients=3, thinks=[0.5]), 2)
    assert (load.opens, load.clients, load.thinks) == ([0.0, 0.5], 6, [0.5])
