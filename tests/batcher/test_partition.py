"""Which lengths share a batch: the division of all that waits that takes the least time."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher.costs import Terms
from batcher.partition import company

BY_TOKEN = Terms(run=10.0, row=0.0, token=1.0, square=0.0)


@pytest.mark.parametrize(
    ("groups", "length", "most_rows", "batch"),
    [
        ([(5, 1)], 5, 64, (5, 5)),
        ([(5, 1), (6, 1)], 5, 64, (5, 6)),  # one position is filled in, one run is spared
        ([(5, 1), (6, 1)], 6, 64, (5, 6)),
        ([(5, 1), (16, 1)], 5, 64, (5, 5)),  # eleven would be filled in for it
        ([(5, 1), (16, 1)], 16, 64, (16, 16)),
        ([(5, 9), (6, 1)], 6, 64, (5, 6)),
        ([(5, 11), (6, 1)], 6, 64, (6, 6)),  # one each, of eleven
        ([(4, 1), (5, 1), (20, 1), (21, 1)], 20, 64, (20, 21)),
        ([(4, 1), (5, 1), (20, 1), (21, 1)], 4, 64, (4, 5)),
        ([(5, 3), (6, 3)], 5, 4, (5, 5)),  # six rows are too many
        ([(5, 9), (6, 1)], 5, 8, (5, 5)),  # so are nine, but of one length they are two batches
    ],
)
def test_a_length_is_put_together_with_those_for_which_it_pays(groups, length, most_rows, batch):
    assert company(groups, length, most_rows, BY_TOKEN) == batch


def test_if_runs_cost_nothing_nothing_is_padded():
    assert company([(5, 1), (6, 1)], 5, 64, Terms(0.0, 0.0, 1.0, 0.0)) == (5, 5)


def test_if_rows_cost_the_same_at_any_length_all_share_a_batch():
    assert company([(5, 2), (6, 2), (90, 2)], 6, 64, Terms(1.0, 1.0, 0.0, 0.0)) == (5, 90)


lengths = st.dictionaries(st.integers(1, 40), st.integers(1, 5), min_size=1, max_size=9)
costs = st.builds(Terms, *(st.floats(0, 20) for _ in range(3)), st.floats(0, 1))


def least(groups, most_rows, terms):
    """By trying all."""
    best = float("inf")
    for cuts in range(1 << (len(groups) - 1)):
        ends = [0, *(at + 1 for at in range(len(groups) - 1) if cuts >> at & 1), len(groups)]
        best = min(best, divided(groups, list(pairwise(ends)), most_rows, terms))
    return best


def divided(groups, parts, most_rows, terms):
    seconds = 0.0
    for start, stop in parts:
        rows = sum(count for _, count in groups[start:stop])
        if stop - start > 1 and rows > most_rows:
            return float("inf")
        seconds += terms.run * -(-rows // most_rows) + rows * terms.row_s(groups[stop - 1][0])
    return seconds


@given(lengths, st.integers(1, 20), costs)
def test_no_other_division_takes_less_time(rows_of, most_rows, terms):
    groups = sorted(rows_of.items())
    order = [length for length, _ in groups]
    batches = {company(groups, length, most_rows, terms) for length in order}
    parts = sorted((order.index(shortest), order.index(longest) + 1) for shortest, longest in batches)
    assert [start for start, _ in parts] == [0, *(stop for _, stop in parts[:-1])]
    assert parts[-1][1] == len(groups)
    assert divided(groups, parts, most_rows, terms) == pytest.approx(least(groups, most_rows, terms))
