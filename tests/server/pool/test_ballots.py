"""All or none: tables of votes, and any order of votes, deaths and changes of mind."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.pool.ballots import Ballots, verdict

LOAD, OTHER = ("m", 1, "a"), ("m", 1, "b")


@pytest.mark.parametrize(
    ("votes", "voters", "expected"),
    [
        ({}, set(), None),  # nobody has it: there is nothing to publish
        ({}, {0, 1}, None),
        ({0: ""}, {0, 1}, None),  # the other is still at it
        ({0: "", 1: ""}, {0, 1}, ""),
        ({0: ""}, {0}, ""),
        ({0: "", 1: ""}, {0}, ""),  # one that may not vote yet does no harm
        ({1: ""}, {0}, None),
        ({0: "", 1: "no memory"}, {0, 1}, "replica 1 could not load it: no memory"),
        ({1: "no memory"}, {0, 1}, "replica 1 could not load it: no memory"),  # at once
        ({1: "no memory"}, {0}, "replica 1 could not load it: no memory"),
    ],
)
def test_verdict(votes, voters, expected):
    assert verdict(votes, voters) == expected


def ballots(*wanted):
    made = Ballots()
    made.want(wanted)
    return made


def test_a_load_is_decided_once_and_whoever_votes_later_is_told():
    made = ballots(LOAD)
    assert made.vote(LOAD, 0, "") is None
    assert list(made.count({0, 1})) == []
    assert made.vote(LOAD, 1, "") is None
    assert list(made.count({0, 1})) == [(LOAD, "", [0, 1])]
    assert list(made.count({0, 1})) == []
    assert made.vote(LOAD, 1, "") == ""
    assert made.vote(LOAD, 0, "too late to object") == ""


def test_a_refusal_stands_until_the_files_change():
    made = ballots(LOAD)
    made.vote(LOAD, 1, "broken")
    ((_, reason, voted),) = made.count({0, 1})
    assert voted == [1]
    assert made.vote(LOAD, 0, "") == reason
    made.want([OTHER])
    assert made.vote(OTHER, 0, "") is None
    made.want([LOAD])
    assert made.vote(LOAD, 0, "") is None, "a load that was forgotten is a new one"


def test_who_dies_is_not_waited_for_and_its_vote_does_not_count():
    made = ballots(LOAD)
    made.vote(LOAD, 0, "")
    made.leave(1)
    assert list(made.count({0})) == [(LOAD, "", [0])]
    made.want([OTHER])
    made.vote(OTHER, 1, "")
    made.leave(1)
    assert list(made.count(set())) == [], "the only one that had it is gone"


def test_a_vote_on_what_is_not_wanted_opens_nothing():
    made = ballots(LOAD)
    assert made.vote(OTHER, 0, "") is None
    assert list(made.count({0})) == []


def test_counting_is_work_for_the_votes_and_not_for_all_open_loads(monkeypatch):
    """One replica may be hundreds of loads ahead of the other."""
    loads = [(f"m{number}", 1, "a") for number in range(300)]
    made, asked = ballots(*loads), []
    monkeypatch.setattr("server.pool.ballots.verdict", lambda *given: asked.append(given) or verdict(*given))
    for replica in (0, 1):
        for load in loads:
            made.vote(load, replica, "")
            assert len(list(made.count({0, 1}))) == replica
    assert len(asked) <= 2 * len(loads)


def test_all_open_loads_are_counted_when_there_are_fewer_voters():
    made = ballots(LOAD, OTHER)
    for load in (LOAD, OTHER):
        made.vote(load, 0, "")
    assert list(made.count({0, 1})) == []
    assert list(made.count({0})) == [(LOAD, "", [0]), (OTHER, "", [0])]


STEPS = st.lists(
    st.tuples(st.just("vote"), st.sampled_from([LOAD, OTHER]), st.integers(0, 2), st.sampled_from(["", "", "bad"]))
    | st.tuples(st.just("leave"), st.integers(0, 2))
    | st.tuples(st.just("want"), st.sets(st.sampled_from([LOAD, OTHER])))
)


@given(STEPS)
def test_whatever_happens_nothing_is_published_that_somebody_lacks(steps):
    made = ballots(LOAD, OTHER)
    prepared = {LOAD: set(), OTHER: set()}
    for step, *arguments in steps:
        if step == "vote":
            load, replica, reason = arguments
            made.vote(load, replica, reason)
            (prepared[load].discard if reason else prepared[load].add)(replica)
        elif step == "leave":
            made.leave(*arguments)
            for replicas in prepared.values():
                replicas.discard(*arguments)
        else:
            made.want(*arguments)
        for load, reason, voted in made.count({0, 1, 2}):
            assert reason or prepared[load] == {0, 1, 2} == set(voted)
