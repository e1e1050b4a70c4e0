"""Sizes of batches that seem quicker or slower than their neighbours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher.smooth import Known, smoothed


def affine(rows):
    return 1e-3 + 1e-4 * rows


def test_a_lucky_size_of_few_runs_is_drawn_to_its_neighbours():
    known = [Known(rows, affine(rows), 20) for rows in range(16, 33) if rows != 24]
    lucky = sorted([*known, Known(24, affine(24) / 1.25, 1)])
    assert dict(smoothed(lucky, 0.15))[24] == pytest.approx(affine(24), rel=0.1)


def test_a_step_that_luck_does_not_explain_keeps_its_height():
    """As of a model that pads to multiples of 8."""
    known = [Known(rows, 1e-3 * (1 + (rows > 24)), 31) for rows in range(17, 33)]
    believed = dict(smoothed(known, 0.05))
    assert believed[25] > 1.98 * believed[24]
    assert believed[18] == pytest.approx(1e-3, rel=0.02)


@given(st.dictionaries(st.integers(1, 300), st.tuples(st.floats(1e-5, 1.0), st.integers(1, 31)), min_size=1))
def test_every_size_stays_between_what_it_measured_and_what_its_neighbours_say(table):
    known = [Known(rows, *table[rows]) for rows in sorted(table)]
    found = smoothed(known, 0.05)
    assert [rows for rows, _ in found] == sorted(table)
    assert found[0][1] == pytest.approx(known[0].seconds)
    assert found[-1][1] == pytest.approx(known[-1].seconds)
    assert all(seconds > 0 for _, seconds in found)


@given(st.floats(1e-6, 1e-2), st.sets(st.integers(4, 256), min_size=3))
def test_what_is_a_power_law_is_left_as_it_is(unit, sizes):
    known = [Known(rows, unit * rows**0.7, 8) for rows in sorted(sizes)]
    assert [seconds for _, seconds in smoothed(known, 0.05)] == pytest.approx(
        [each.seconds for each in known], rel=1e-6
    )
