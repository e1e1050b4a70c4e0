"""Tables: runs that were seen, work that is to come, and on which side of the loop's budget it is expected."""

import math

import pytest

from executor.pace import LOOP_BUDGET_S, STALL_S, Pace

QUICK, SLOW = 20e-6, 1e-3


def pace(*runs):
    learnt = Pace()
    for work, seconds in runs:
        learnt.record(work, seconds)
    return learnt


@pytest.mark.parametrize(
    ("runs", "work", "expected"),
    [
        ([], 64, math.inf),  # nothing known, nothing cheap
        ([(64, QUICK)], 64, QUICK),
        ([(64, QUICK)], 127, QUICK),  # the same bucket
        ([(64, QUICK)], 10, QUICK),  # a larger bucket bounds a smaller one
        ([(64, QUICK)], 0, QUICK),
        ([(64, QUICK)], 640, QUICK * 10),  # a smaller one is scaled, from the least it can hold
        ([(127, QUICK)], 640, QUICK * 10),
        ([(0, QUICK)], 10, QUICK * 10),
        ([(64, QUICK), (4096, SLOW)], 640, QUICK * 10),
        ([(64, QUICK), (1024, 2 * QUICK)], 640, 2 * QUICK),
        ([(64, QUICK), (4096, QUICK * 2)], 2048, QUICK * 2),
        ([(64, QUICK), (512, 3 * QUICK)], 1024, 6 * QUICK),  # from the nearest
    ],
)
def test_expected_seconds(runs, work, expected):
    assert pace(*runs).expected(work) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("seconds", "on_the_loop"),
    [
        ([QUICK], True),
        ([SLOW], False),
        ([QUICK, QUICK, QUICK, SLOW], True),  # one slow run: the kernel took the core away
        ([QUICK, SLOW, QUICK, SLOW, QUICK], True),
        ([QUICK, QUICK, QUICK, SLOW, SLOW], False),  # two in a row: it has become slow
        ([SLOW, SLOW, SLOW, QUICK, QUICK], True),  # and quick again
        ([SLOW, QUICK], False),  # slow at first sight wants two witnesses
        ([SLOW, QUICK, QUICK], True),
        ([QUICK, QUICK, QUICK, STALL_S * 1.01], False),  # a stall counts at once
        ([QUICK, QUICK, STALL_S * 1.01, QUICK], False),
        ([QUICK, QUICK, STALL_S * 1.01, QUICK, QUICK], True),
        ([LOOP_BUDGET_S], False),
    ],
)
def test_which_runs_go_on_the_loop(seconds, on_the_loop):
    learnt = pace(*((64, each) for each in seconds))
    assert (learnt.expected(64) < LOOP_BUDGET_S) is on_the_loop


def test_a_slow_bucket_does_not_hurt_a_smaller_quick_one():
    learnt = pace((64, QUICK), (6400, SLOW), (6400, SLOW))
    assert learnt.expected(64) == QUICK
