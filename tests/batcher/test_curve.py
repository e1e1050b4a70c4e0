from random import Random

import pytest

from batcher.curve import Curve, place


def known(seconds=lambda rows: 0.004 + 0.001 * rows, sizes=(1, 2, 4, 8, 16)):
    curve = Curve(slots=2)
    for rows in sizes:
        curve.measured(rows, seconds(rows))
    return curve


def test_sizes_that_never_ran_are_interpolated():
    assert known().seconds(6) == pytest.approx(0.010)
    assert known().seconds(32) == pytest.approx(0.036)


def test_a_step_stays_a_step():
    curve = known(lambda rows: 0.010 if rows > 4 else 0.005, (1, 4, 5, 8))
    assert [curve.seconds(rows) for rows in (1, 3, 4, 5, 7)] == pytest.approx([0.005, 0.005, 0.005, 0.010, 0.010])


def test_one_outlier_changes_nothing():
    curve = known()
    for _ in range(10):
        curve.ran(4, 0.008)
    curve.ran(4, 0.8)
    assert curve.seconds(4) == pytest.approx(0.008)


def test_when_all_runs_are_slower_the_whole_curve_moves():
    curve = known()
    for rows in (1, 4, 1, 4):
        curve.ran(rows, 2 * (0.004 + 0.001 * rows))
    assert curve.seconds(16) == pytest.approx(0.040, rel=0.1)
    assert curve.moved == pytest.approx(2.0)


def test_what_was_slow_for_a_while_leaves_no_trace_in_sizes_that_did_not_run_meanwhile():
    curve, random = known(), Random(1)
    for burst in range(20):
        for _ in range(30):  # a neighbour comes at once and goes little by little
            curve.ran(4, 0.008 * random.uniform(1.3, 1.6))
        for step in range(100):
            curve.ran(4, 0.008 * max(1.0, 1.3 - 0.01 * step) * random.uniform(0.97, 1.03))
        assert curve.seconds(4) == pytest.approx(0.008, rel=0.12), burst
        assert curve.seconds(16) == pytest.approx(0.020, rel=0.15), burst


def test_what_batches_in_flight_cost_each_other_is_learnt():
    curve = known()
    for _ in range(60):
        curve.ran(4, 2 * 0.008, running=2.0)
    assert curve.factor(2) == pytest.approx(2.0, rel=0.05)
    assert curve.seconds(4) == pytest.approx(0.008)


def test_what_a_third_batch_costs_is_not_held_against_two():
    """Of a run beside two for part of its time, only that part says what two cost."""
    curve, truth = Curve(slots=4), [1.0, 1.0, 1.0, 1.5, 2.0]
    curve.measured(4, 0.008)
    for running in (1.0, 2.0, 2.4, 2.7, 3.0, 2.2) * 40:
        below, share = int(running), running % 1
        speed = (1 - share) / truth[below] + share / truth[below + 1]
        curve.ran(4, 0.008 / speed, running)
    assert [curve.factor(k) for k in (2, 3)] == pytest.approx([1.0, 1.5], rel=0.02)


def test_a_size_that_is_known_wrongly_does_not_move_all_others():
    curve = known()
    curve.ran(6, 0.7 * 0.010)
    for _ in range(40):
        curve.ran(6, 0.010)
        assert curve.seconds(16) == pytest.approx(0.020, rel=0.01)
    assert curve.seconds(6) == pytest.approx(0.010, rel=0.01)
    assert curve.drifts == 0


def settled(beside=1.4):
    """A curve that knows by how much two batches in flight slow each other down."""
    curve = known()
    for _ in range(30):
        curve.ran(4, 0.008)
        curve.ran(4, beside * 0.008, running=2.0)
    return curve


def test_a_slower_device_is_not_taken_for_neighbours():
    """Where few runs are alone, those beside others had been learnt from before anybody knew."""
    curve = known()
    curve.slowdown[2] = 1.0
    for _ in range(3):
        curve.ran(4, 2 * 0.008, running=2.0)
    for _ in range(2):
        curve.ran(4, 2 * 0.008)
    assert (curve.drifts, curve.moved) == (1, pytest.approx(2.0))
    assert curve.factor(2) == 1.0
    assert curve.seconds(16) == pytest.approx(0.040)


def test_once_neighbours_are_known_runs_beside_them_say_that_all_is_slower():
    curve = settled()
    for _ in range(4):
        curve.ran(4, 2 * 1.4 * 0.008, running=2.0)
    assert (curve.drifts, curve.moved) == (1, pytest.approx(2.0, rel=0.05))
    assert curve.factor(2) == pytest.approx(1.4, rel=0.05)


def test_neighbours_that_have_become_worse_are_not_taken_for_a_slower_device():
    curve = settled()
    for _ in range(60):
        curve.ran(4, 0.008)
        curve.ran(4, 2.0 * 0.008, running=2.0)
    assert curve.drifts == 0
    assert curve.factor(2) == pytest.approx(2.0, rel=0.05)


def test_wild_runs_are_not_trusted():
    curve = known()
    assert curve.trusted()
    for _ in range(40):
        curve.ran(4, 0.001)
        curve.ran(4, 0.050)
    assert not curve.trusted()


@pytest.mark.parametrize("rows", [1, 63, 64, 65, 100, 1000, 65536])
def test_places_are_at_most_a_thirtysecond_apart(rows):
    assert rows <= place(rows) <= rows * (1 + 1 / 32)
