"""Who would be late, and who gives way: tables, and what must hold for any."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher.admission import form, most_in_time, start


def seconds(rows):
    return 1.0 + 0.1 * rows


@pytest.mark.parametrize(
    ("free", "ahead", "rows", "expected"),
    [
        ([5.0], 0, 1, (5.0, 1)),
        ([5.0], 9, 1, (5.0, 10)),
        ([5.0], 10, 1, (7.0, 1)),  # a whole batch goes before it
        ([5.0], 25, 1, (9.0, 6)),
        ([5.0], 0, 25, (9.0, 5)),  # its last rows count
        ([5.0], 0, 0, (5.0, 0)),
        ([5.0, 6.0], 10, 1, (6.0, 1)),  # the next place
        ([5.0, 6.0], 20, 1, (7.0, 1)),  # and the first again
    ],
)
def test_a_batch_begins_when_its_place_is_free_of_those_before_it(free, ahead, rows, expected):
    assert start(free, ahead, rows, full=10, full_s=2.0) == expected


@pytest.mark.parametrize(
    ("front", "waiting", "expected"),
    [
        ([(9.0, 1)] * 3, 3, (10, 0)),  # all in time
        ([(2.0, 1)] * 12, 12, (10, 0)),  # just
        ([(1.9, 1)] + [(9.0, 1)] * 10, 11, (10, 1)),  # a full batch without it
        ([(1.9, 1)] * 3 + [(9.0, 1)] * 10, 13, (10, 3)),
        ([(1.9, 1)] + [(9.0, 1)] * 9, 10, (9, 0)),  # not full without it: one row less is in time for it
        ([(1.05, 1)] + [(9.0, 1)] * 9, 10, (10, 1)),  # late even alone
        ([(1.15, 1)] + [(9.0, 1)] * 9, 10, (1, 0)),
        ([(1.0, 1), (1.0, 1)], 2, (10, 2)),  # nobody is left
    ],
)
def test_who_is_late_gives_way_to_a_full_batch_and_else_has_a_smaller_one(front, waiting, expected):
    assert form(0.0, iter(front), waiting, 10, seconds) == expected


@given(
    st.lists(st.tuples(st.floats(0, 5), st.integers(1, 4)), min_size=1, max_size=40),
    st.integers(1, 20),
)
def test_the_first_of_those_who_stay_is_in_time(front, take):
    waiting = sum(rows for _, rows in front)
    rows, leave = form(0.0, iter(front), waiting, take, seconds)
    assert 1 <= rows <= take
    stay = front[leave:]
    if stay:
        due, own = stay[0]
        left = sum(rows for _, rows in stay)
        assert due >= seconds(min(max(rows, own), left))
    for index, (due, own) in enumerate(front[:leave]):
        behind = sum(rows for _, rows in front[index + 1 :])
        assert due < seconds(own) or (behind >= take and due < seconds(take)), "nobody leaves for nothing"


@given(st.floats(0, 5), st.integers(1, 50), st.integers(0, 50))
def test_most_in_time_is_the_most(left_s, low, more):
    found = most_in_time(left_s, low, low + more, seconds)
    fits = [rows for rows in range(low + 1, low + more) if seconds(rows) <= left_s]
    assert found == (fits[-1] if fits else low)
