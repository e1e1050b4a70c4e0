"""What a load would cost: against theory, against the simulator by itself, and what is said where nothing keeps up."""

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batcher import loads
from batcher.decide import Limits
from batcher.forecast import summary
from batcher.known import affine
from batcher.simulate import simulate
from batcher.what_if import ADAPTIVE, AT_ONCE, capacity, offered, policies, what_if

MODEL = affine("4+0.25b")


def by_name(known, load, requests=6000):
    return {row.settings: row for row in what_if(known, load, requests)}


def limited(known, rows):
    return msgspec.structs.replace(known, limits=Limits(rows))


def test_the_capacity_says_how_it_is_reached():
    assert str(capacity(MODEL)) == "3,200 rows/s in batches of 64"
    several = msgspec.structs.replace(MODEL, slowdown=(1.0, 1.0, 1.25, 2.5))
    assert str(capacity(several)) == "5,120 rows/s in batches of 64, 2 at once"


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_batches_of_one_wait_as_long_as_queueing_theory_says(load):
    """Pollaczek and Khinchine, for constant times: s + load s / (2 (1 - load))."""
    alone, seconds = limited(affine("10+0b"), 1), 0.01
    row = by_name(alone, loads.poisson(load / seconds, 60_000, 2), 60_000)[AT_ONCE]
    assert row.forecast.mean_ms == pytest.approx(1e3 * (seconds + load * seconds / (2 * (1 - load))), rel=0.04)


def test_twice_the_traffic_costs_more_and_past_the_capacity_nobody_keeps_up():
    load = loads.poisson(1000, 6000, 1)
    once, twice, often = (by_name(MODEL, loads.scaled(load, times)) for times in (1, 2, 4))
    for name, row in once.items():
        assert row.keeps_up
        assert not often[name].keeps_up
        assert row.forecast.batch_rows < twice[name].forecast.batch_rows
    assert once[ADAPTIVE].forecast.p99_ms < twice[ADAPTIVE].forecast.p99_ms
    assert offered(loads.scaled(load, 4)) > capacity(MODEL).rows_per_s > offered(loads.scaled(load, 2))


def test_a_policy_that_wastes_the_device_falls_behind_where_others_keep_up():
    """Two in flight halve each other's speed and their batches: too much of the fixed cost for this load."""
    shared = msgspec.structs.replace(affine("4+1b"), slowdown=(1.0, 1.0, 2.6))
    rows = by_name(shared, loads.poisson(820, 8000, 1), 8000)
    assert rows[ADAPTIVE].keeps_up
    assert not rows["timer 0 ms, 2 in flight"].keeps_up


def test_with_a_timeout_the_share_in_time_is_what_the_capacity_allows_where_who_would_be_late_is_refused():
    load = replace(loads.poisson(6400, 20_000, 1), timeouts=(0.06,))
    rows = {name: row.forecast for name, row in by_name(MODEL, load, 20_000).items()}
    ours, greedy = rows[ADAPTIVE], rows[AT_ONCE]
    assert 0.45 < ours.in_time < 0.56
    assert ours.in_time + ours.refused == pytest.approx(1.0, abs=0.01)
    assert greedy.in_time < 0.1
    assert greedy.refused == 0
    assert by_name(MODEL, loads.poisson(100, 500, 1), 500)[ADAPTIVE].forecast.in_time is None


def test_clients_always_keep_up_and_are_answered_as_the_simulator_answers_them():
    load = loads.closed(8, 0.0003, 3000, 1)
    rows = by_name(MODEL, load, 3000)
    assert all(row.keeps_up for row in rows.values())
    apart = replace(load, apart_s=MODEL.table()[64])
    outcome = simulate(apart, MODEL.device(), policies(MODEL)[ADAPTIVE], 3000)
    assert rows[ADAPTIVE].forecast == summary(outcome)
    assert rows[ADAPTIVE].forecast.mean_ms < 0.9 * rows[AT_ONCE].forecast.mean_ms


@settings(max_examples=25, deadline=None)
@given(
    rate=st.floats(1, 20_000),
    top=st.integers(1, 64),
    rows=st.lists(st.integers(1, 100), min_size=1, max_size=4),
    slots=st.integers(1, 3),
)
def test_nothing_is_answered_faster_than_the_model_can(rate, top, rows, slots):
    known = limited(msgspec.structs.replace(MODEL, slowdown=(1.0, *(1.2**k for k in range(slots)))), top)
    best = capacity(known)
    for row in what_if(known, loads.poisson(rate, 300, 1, rows), 300):
        assert row.forecast.rows_per_s <= best.rows_per_s * 1.001
        assert row.forecast.mean_ms >= 4.25
