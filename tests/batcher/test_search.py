"""The search for better settings: a race in which few are run to the end, and the answer is that of trying all."""

import pytest

from batcher import loads
from batcher.decide import Limits
from batcher.search import search
from batcher.twin import STAGES, Picture, Settings, Twin

AFFINE = [0.0, *(0.004 + 0.0005 * rows for rows in range(1, 65))]
STEPPED = [0.0, *(0.004 + 0.001 * (1 << (rows - 1).bit_length()) for rows in range(1, 65))]


def picture(load, seconds=AFFINE, slowdown=(1.0, 1.0)):
    return Picture(seconds, slowdown, (0.97, 1.0, 1.04), load, Limits(64))


QUIET = picture(loads.poisson(60, 500, seed=1))
CASES = [
    QUIET,
    picture(loads.poisson(1100, 500, seed=2)),
    picture(loads.poisson(470, 500, seed=3), STEPPED),
    picture(loads.bursts(300, 500, seed=4), slowdown=(1.0, 1.0, 1.3, 1.8, 2.4)),
    picture(loads.closed(8, 0.0003, 500, seed=5)),
    picture(loads.closed(32, 0.004, 500, seed=6), slowdown=(1.0, 1.0, 1.0, 1.5, 2.0)),
]


@pytest.mark.parametrize("asked", CASES)
def test_the_race_finds_settings_as_good_as_if_all_were_run_to_the_end(asked):
    race, patient = Twin(asked), Twin(asked)
    patient.stages = [patient.requests] * len(STAGES)
    found, best = search(race, None), search(patient, None)
    assert sum(patient.costs(found)) < 1.02 * sum(patient.costs(best))


@pytest.mark.parametrize("asked", CASES)
def test_only_few_are_run_to_the_end(asked):
    twin = Twin(asked)
    search(twin, None)
    assert sum(trial.ended for trial in set(twin.tried.values())) <= len(twin.tried) / 3


def test_settings_that_come_to_the_same_plan_are_run_once():
    twin = Twin(QUIET)
    for share in (0.0, 0.7, 0.95):  # a larger batch always has a better rate here: none is rounded
        twin.costs(Settings(1, 64, round_down=share))
    assert len(set(twin.tried.values())) == 1


def test_a_plan_that_differs_where_none_was_asked_is_not_run_but_one_that_differs_elsewhere_is():
    twin, usual, larger, smaller = Twin(QUIET), Settings(1, 32), Settings(1, 64), Settings(1, 1)
    costs = twin.costs(usual)
    assert twin.costs(larger) == costs == Twin(QUIET).costs(larger)
    assert twin.costs(smaller) == Twin(QUIET).costs(smaller) != costs
    assert twin.tried[larger] is twin.tried[usual] is not twin.tried[smaller]


def test_a_stage_costs_the_same_whenever_it_is_asked_for():
    twin, other = Twin(QUIET), Twin(QUIET)
    settings = Settings(1, 64, enough_rows=4, hold_s=0.01)
    last = twin.costs(settings)
    assert [other.costs(settings, stage) for stage in range(len(STAGES))] == [
        *(twin.costs(settings, stage) for stage in range(len(STAGES) - 1)),
        last,
    ]


SIDE_BY_SIDE = [0.0, *(0.010 + 0.0003 * rows for rows in range(1, 65))]
FOUR = (1.0,) * 5


def test_several_in_flight_begin_at_even_intervals_where_that_is_better_than_in_bunches():
    asked = picture(loads.poisson(6000, 1000, seed=7), SIDE_BY_SIDE, FOUR)
    twin = Twin(asked)
    found = search(twin, None)
    assert found.in_flight == 4
    assert found.waits
    assert sum(twin.costs(found)) < 0.9 * sum(twin.costs(Settings(4, 64)))


def test_batches_that_grow_with_a_backlog_may_be_small_if_several_are_in_flight():
    seconds = [0.0, *(0.023 + 0.002 * rows for rows in range(1, 65))]
    load = loads.poisson(1150, 1000, seed=8)  # four batches of 16 serve as many: any luckier, and a backlog remains
    several, found = Twin(picture(load, seconds, FOUR)), search(Twin(picture(load, seconds, FOUR)), None)
    assert several.capacity(Settings(4, found.most_rows)) < 1.05 * several.open_rate
    assert sum(several.costs(found)) < 0.95 * sum(several.costs(Settings(4, 64)))
