"""What is foretold, from a curve that is known and batches that are told of."""

import pytest

from batcher.adaptive import Adaptive
from batcher.decide import Limits
from batcher.outlook import TRY_EVERY_S, Outlook

SWEEP = (1, 2, 4, 8, 16, 32, 64)


def affine(rows):
    return 0.004 + 0.0005 * rows


def outlook(slots=1, parallel=1, patience_s=0.2):
    slowdown = [max(1.0, k / parallel) for k in range(1, slots + 1)]
    made = Outlook(Adaptive(Limits(64), slots, seed=[(n, affine(n)) for n in SWEEP], slowdown=slowdown), 64)
    made.late_by(-1e6, 0, 1, -1e6 + patience_s)
    return made


def expected(made, ahead=0, rows=1, now=0.0):
    """Without the margin, which is another's business."""
    at = made.expected(now, ahead, rows)
    made._excess = 0.0
    return at if at == made.expected(now, ahead, rows) else made.expected(now, ahead, rows)


def test_alone_it_takes_what_the_curve_says():
    made = outlook()
    assert expected(made) == pytest.approx(affine(1))


def test_rows_before_it_in_its_batch_and_batches_before_that_add_up():
    made = outlook()
    assert expected(made, ahead=7) == pytest.approx(affine(8))
    assert expected(made, ahead=2 * 64) == pytest.approx(2 * affine(64) + affine(1))


def test_what_is_left_of_the_batch_in_flight_is_waited_for():
    made = outlook()
    made.began("a", 0.0, 64)
    end = affine(64)
    assert expected(made, now=0.010) == pytest.approx(end + affine(1))
    late = expected(made, now=end + 0.005)
    assert late == pytest.approx(end + 0.010 + affine(1)), "overdue: for as long again"
    made.ended("a", end)
    assert expected(made, now=end) == pytest.approx(end + affine(1))


def test_a_free_place_beside_a_batch_is_used():
    made = outlook(slots=2, parallel=2)
    assert made._in_flight == 2
    made.began("a", 0.0, 64)
    assert expected(made) < affine(64)
    made.began("b", 0.001, 64)
    assert expected(made, now=0.001) > affine(64), "behind the first to end"


def test_those_who_are_expected_before_its_batch_begins_make_it_longer():
    quiet, busy = outlook(), outlook()
    for made, arrivals in ((quiet, 1), (busy, 40)):
        for number in range(arrivals):
            made.late_by(-0.02 + 0.0005 * number, 0, 1, 1.0)
        made.began("a", 0.0, 64)
    assert expected(busy) > expected(quiet) + 0.004


def test_the_margin_is_what_batches_take_longer_than_expected():
    steady, shaky = outlook(), outlook()
    for made, factors in ((steady, [1.0]), (shaky, [1.0, 0.7, 1.3])):
        for number in range(80):
            made.began(number, 0.0, 64)
            made.ended(number, affine(64) * factors[number % len(factors)])
        made.refresh()
    assert steady.margin_s(0.0) == pytest.approx(0.0, abs=1e-9)
    assert shaky.margin_s(0.0) == pytest.approx(0.3 * affine(64))
    assert shaky.margin_s(affine(64)) == pytest.approx(0.6 * affine(64)), "what goes wrong goes on"
    assert shaky.margin_s(1e6) == pytest.approx(shaky.patience_s / 4), "or nobody would be let in"


def test_a_run_that_failed_says_nothing_of_how_long_they_take():
    made = outlook()
    for number in range(80):
        made.began(number, 0.0, 64)
        made.ended(number, 100.0, worked=False)
    made.refresh()
    assert made.full_s < 2 * affine(64)


@pytest.mark.parametrize(("patience_s", "full"), [(10.0, 64), (0.080, 64), (0.040, 23)])
def test_two_full_batches_fit_into_the_time_that_requests_have(patience_s, full):
    made = outlook(patience_s=patience_s)
    assert made.full == pytest.approx(full, abs=8)
    assert made.full == 64 or 2 * affine(made.full) <= patience_s


def test_an_executor_that_has_nothing_to_do_tries_one_a_second_whatever_is_expected():
    made = outlook()
    assert made.late_by(0.0, 0, 1, 1e-6) > 0
    assert made.tries(0.0, 0)
    assert not made.tries(0.5, 0)
    assert not made.tries(TRY_EVERY_S, 1), "somebody waits"
    made.began("a", TRY_EVERY_S, 1)
    assert not made.tries(TRY_EVERY_S, 0), "something runs"
    made.ended("a", TRY_EVERY_S)
    assert made.tries(TRY_EVERY_S, 0)
    assert expected(made) < 1.0


def test_in_overload_a_batch_is_full_whatever_the_plan_says():
    made = outlook()
    late = [(9.0, 1)] * 30
    assert made.form(0.0, 16, 30, iter(late)) == (16, 0)
    assert made.form(0.0, 15, 30, iter(late)) == (64, 0), "the plan is two batches behind"
    assert made.late_by(0.0, 10_000, 1, 0.1) > 0
    assert made.form(0.0, 16, 30, iter(late)) == (64, 0), "somebody has just been refused"
    assert made.form(1.0, 16, 30, iter(late)) == (16, 0), "that was long ago"
