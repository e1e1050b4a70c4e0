import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher.ceiling import FIRST_HOLD_S, LONGEST_HOLD_S, Ceiling


def lowered_to(rows, most=64):
    ceiling = Ceiling(most)
    ceiling.failed(2 * rows, 0.0)
    assert ceiling.rows == rows
    return ceiling


def full_runs(ceiling, start, end, fits):
    """A run as large as may be, every second; what does not fit fails. How many failed."""
    failed = 0
    for now in range(start, end):
        if ceiling.rows <= fits:
            ceiling.ran(ceiling.rows, now)
        else:
            ceiling.failed(ceiling.rows, now)
            failed += 1
    return failed


def test_nothing_is_lowered_before_a_failure():
    assert Ceiling(64).rows == 64
    assert not Ceiling(64).lowered


@pytest.mark.parametrize(("failed", "rows"), [((64,), 32), ((50,), 25), ((64, 32), 16), ((64, 64), 32), ((3,), 1)])
def test_a_failure_halves_what_failed_and_two_of_the_same_size_count_once(failed, rows):
    ceiling = Ceiling(64)
    for each in failed:
        ceiling.failed(each, 1.0)
    assert ceiling.rows == rows
    assert ceiling.lowered


def test_it_grows_by_a_quarter_at_a_time_after_a_while_without_failures():
    ceiling, seen = lowered_to(16), []
    for step in range(9):
        before_its_time = FIRST_HOLD_S * (step + 1) - 0.01
        ceiling.ran(ceiling.rows, before_its_time)
        ceiling.ran(ceiling.rows, before_its_time + 0.01)
        seen.append(ceiling.rows)
    assert seen == [20, 25, 31, 38, 47, 58, 64, 64, 64]
    assert not ceiling.lowered


def test_small_batches_are_no_reason_to_grow():
    ceiling = lowered_to(16)
    ceiling.ran(8, 1e6)
    assert ceiling.rows == 16
    ceiling.ran(9, 1e6)
    assert ceiling.rows == 20


def test_growing_too_far_goes_back_to_what_has_run_and_waits_twice_as_long():
    ceiling = lowered_to(16)
    ceiling.ran(16, 30.0)
    ceiling.failed(20, 31.0)
    assert ceiling.rows == 16
    ceiling.ran(16, 31.0 + 2 * FIRST_HOLD_S - 0.01)
    assert ceiling.rows == 16
    ceiling.ran(16, 31.0 + 2 * FIRST_HOLD_S)
    assert ceiling.rows == 20


def test_memory_for_forty_rows_of_64_costs_a_handful_of_failed_runs_a_day():
    ceiling = Ceiling(64)
    assert full_runs(ceiling, 0, 3600, fits=40) <= 9
    day = full_runs(ceiling, 3600, 90_000, fits=40)
    assert day <= 86_400 / LONGEST_HOLD_S
    assert 30 <= ceiling.rows <= 40


def test_memory_that_comes_back_is_used_within_the_hour():
    ceiling = Ceiling(64)
    full_runs(ceiling, 0, 600, fits=10)
    full_runs(ceiling, 600, 600 + 3600, fits=64)
    assert not ceiling.lowered


@pytest.mark.parametrize("mates_first", [True, False])
def test_one_that_asks_for_too_much_by_itself_does_not_make_its_mates_run_alone(mates_first):
    ceiling = Ceiling(64)
    for rows in (64, 32, 16, 8, 4, 2):
        ceiling.failed(rows, 1.0)
        if mates_first:
            ceiling.ran(rows // 2, 1.0)
    ceiling.failed(1, 1.0)
    assert ceiling.rows == 1
    ceiling.ran(1, 1.0)
    assert ceiling.rows == 64


def test_where_nothing_runs_at_all_batches_stay_small():
    ceiling = Ceiling(64)
    for rows in (64, 32, 16, 8, 4, 2, *[1] * 100):
        ceiling.failed(rows, 1.0)
    assert ceiling.rows == 1


@given(st.integers(1, 70), st.lists(st.tuples(st.booleans(), st.integers(0, 80), st.floats(0, 100))))
def test_it_stays_between_one_row_and_what_is_configured(most, told):
    ceiling, now = Ceiling(most), 0.0
    for failed, rows, later in told:
        now += later
        before = ceiling.rows
        if failed:
            ceiling.failed(rows, now)
            assert ceiling.rows <= before
            assert rows <= 1 or ceiling.rows < rows, "or the same rows would be tried again and again"
        else:
            ceiling.ran(rows, now)
            assert ceiling.rows >= before
        assert 1 <= ceiling.rows <= most
