"""What labels point to and who gets which share, as functions of what is READY."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_repo.routing import Routing, awaiting, pointed, shares
from model_repo.split import Split

BOTH = {"stable": 3, "canary": 4}


@pytest.mark.parametrize(
    ("labels", "ready", "before", "now"),
    [
        (BOTH, {3, 4}, {}, BOTH),
        (BOTH, {3}, {}, {"stable": 3}),  # canary waits for its version
        (BOTH, {3}, {"canary": 3}, {"stable": 3, "canary": 3}),  # and goes on as before, if it was something
        (BOTH, {3}, {"canary": 2}, {"stable": 3}),  # that is gone
        (BOTH, {3, 4}, {"stable": 4, "canary": 3}, BOTH),  # both move at once
        ({}, {3}, {"canary": 3}, {}),  # taken back
    ],
)
def test_a_label_points_to_its_version_once_that_is_ready(labels, ready, before, now):
    assert pointed(Routing(labels), ready, before) == now


@pytest.mark.parametrize(
    ("now", "held"), [(BOTH, set()), ({"stable": 2, "canary": 4}, {2}), ({"taken back": 7}, set()), ({}, set())]
)
def test_a_version_that_stands_in_for_another_is_awaited(now, held):
    assert awaiting(Routing(BOTH), now) == held


@pytest.mark.parametrize(
    ("labels", "traffic", "ready", "expected"),
    [
        ({}, {}, {1, 3}, {3: 100}),  # no shares: the highest
        (BOTH, {}, {3, 4}, {4: 100}),  # labels alone change nothing
        (BOTH, {"canary": 5}, {3, 4}, {4: 5, 3: 95}),  # the rest to stable
        (BOTH, {"canary": 5}, {3, 4, 5}, {4: 5, 3: 95}),
        (BOTH, {"canary": 5}, {3, 5}, {3: 95}),  # canary is left out
        (BOTH, {"canary": 5}, {4, 5}, {4: 5}),  # stable is left out
        (BOTH, {"canary": 5}, {5}, {5: 100}),  # all are left out: whoever there is
        (BOTH, {"canary": 5, "stable": 95}, {3, 4}, {4: 5, 3: 95}),
        (BOTH, {"canary": 5, "stable": 15}, {2, 3, 4}, {4: 5, 2: 80, 3: 15}),  # stable is named: the highest other
        (BOTH, {"canary": 5, "stable": 15}, {3, 4}, {4: 5, 3: 15}),  # nobody is left: only the proportion counts
        ({"canary": 4}, {"canary": 5}, {3, 4}, {4: 5, 3: 95}),  # no stable: the highest other
        ({"canary": 4}, {"canary": 5}, {2, 3}, {3: 95}),
        ({}, {"4": 5}, {3, 4}, {4: 5, 3: 95}),
        ({}, {"4": 100}, {3, 4}, {4: 100}),
        ({}, {"4": 100}, {3}, {3: 100}),
        ({"canary": 4}, {"canary": 5, "4": 10}, {3, 4}, {4: 15, 3: 85}),  # two names of one version
        ({"stable": 4, "canary": 4}, {"canary": 5}, {3, 4}, {4: 100}),  # promoted
        ({}, {"1": 0.1, "2": 0.2, "3": 99.7}, {1, 2, 3, 4}, {1: 0.1, 3: 99.7, 2: 0.2}),  # 4 gets no rounding error
    ],
)
def test_shares(labels, traffic, ready, expected):
    routing = Routing(labels, traffic)
    assert shares(routing, ready, pointed(routing, ready, {})) == expected


def test_while_a_canary_waits_its_share_goes_to_the_one_before_and_the_rest_stays():
    """canary moves from 4 to 5, which loads: 4 must not become the one that gets the rest."""
    routing = Routing({"canary": 5}, {"canary": 5})
    assert shares(routing, {3, 4}, {"canary": 4}) == {4: 5, 3: 95}
    assert shares(routing, {3, 4, 5}, {"canary": 5}) == {5: 5, 4: 95}


@given(st.floats(1, 40), st.floats(1, 40), st.floats(0, 9), st.sampled_from("12"))
def test_of_two_shares_one_that_grows_takes_from_the_rest_only(one, other, more, grows):
    before = {"1": one, "2": other}
    after = before | {grows: before[grows] + more}
    old, new = (Split("m", shares(Routing({}, traffic), {1, 2, 3}, {})) for traffic in (before, after))
    moved = {(old.choose(key), new.choose(key)) for key in map(str, range(500))}
    assert moved <= {(1, 1), (2, 2), (3, 3), (3, int(grows))}
