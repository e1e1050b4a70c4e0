"""Who is waited for: clients that were answered, are not back, and could share the batch."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from batcher.decide import Dispatch, Limits, Plan, WaitUntil
from batcher.follow import Follower

PATIENT = Plan(1, tuple(range(9)), enough_rows=8, patience_s=1.0)


def follower():
    return Follower(PATIENT, Limits(8))


def test_clients_whose_requests_could_not_join_are_not_waited_for():
    following = follower()
    following.finished(0.0, 2, 0.1, 1, [1, 2], "short")
    following.finished(0.1, 2, 0.1, 1, [3, 4], "long")
    following.arrived(0.2, 1, 1)
    assert following.decide(0.2, 1, 0.2, 0, "short") == WaitUntil(1.0), "for the second"
    following.arrived(0.3, 1, 2)
    assert following.decide(0.3, 2, 0.2, 0, "short") == Dispatch(2, "nobody_expected")
    assert following.decide(0.3, 1, 0.2, 0, "long") == WaitUntil(1.1)


def test_a_client_that_changes_its_key_is_expected_where_it_was_last():
    following = follower()
    following.finished(0.0, 1, 0.1, 1, [1], "short")
    following.arrived(0.1, 1, 1)
    following.finished(0.2, 1, 0.1, 1, [1], "long")
    assert following.decide(0.3, 1, 0.3, 0, "short") == Dispatch(1, "nobody_expected")
    assert following.decide(0.3, 1, 0.3, 0, "long") == WaitUntil(1.2)
    following.arrived(0.4, 1, 1)
    following.finished(0.5, 1, 0.1, 1, [1], "short")
    assert following.decide(0.6, 1, 0.6, 0, "short") == WaitUntil(1.5)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 4), st.booleans()), max_size=40))
def test_it_remembers_of_each_client_that_is_away_when_and_with_what_it_was_answered(steps):
    following, away = follower(), {}
    for index, (key, client, back) in enumerate(steps):
        now = index / 1000
        if back:
            following.arrived(now, 1, client)
            away.pop(client, None)
        else:
            following.finished(now, 1, 0.0, 1, [client], key)
            away[client] = (now, key)
        for each in "ab":
            expected = max((since for since, its in away.values() if its == each), default=-inf)
            assert following.waiting(1, now, each).awaited_since == expected
