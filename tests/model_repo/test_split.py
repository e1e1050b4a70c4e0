"""Turns in the given proportions, keys that stay where they are."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_repo.split import CIRCLE, Split, place

SHARES = st.dictionaries(st.sampled_from("abcde"), st.floats(0.01, 100), min_size=1)
KEYS = [f"user {number}" for number in range(4_000)]


def deviation(taken, shares):
    """The most by which a choice was taken more or less often than its share."""
    counts, total = Counter(taken), sum(shares.values())
    return max(abs(counts[choice] - len(taken) * share / total) for choice, share in shares.items())


@given(SHARES, st.integers(1, 3_000), st.integers(0, CIRCLE - 1))
def test_turns_meet_the_shares_wherever_the_walk_begins(shares, turns, at):
    split = Split("m", shares, at=at)
    assert deviation([split.choose() for _ in range(turns)], shares) < 2 + math.log(turns)


@pytest.mark.parametrize("turns", [100, 10_000])
@pytest.mark.parametrize("every", [2, 3, 5, 10, 64])
def test_a_client_that_has_every_nth_turn_meets_the_shares_too(every, turns):
    shares = {"canary": 20, "stable": 80}
    split = Split("m", shares)
    taken = [split.choose() for _ in range(turns * every)]
    assert deviation(taken[::every], shares) < 0.05 * turns + 3


def test_turns_are_the_same_every_time_and_are_taken_by_nobody_with_a_key():
    shares = {"canary": 5, "stable": 95}
    alone, disturbed = Split("m", shares), Split("m", shares)
    for number in range(1_000):
        disturbed.choose(f"key {number}")
        assert alone.choose() == disturbed.choose()


@given(st.text(min_size=1), SHARES)
def test_a_key_has_the_same_choice_for_ever(key, shares):
    split = Split("m", shares)
    first = split.choose(key)
    split.choose()
    assert split.choose(key) == Split("m", shares, at=7).choose(key) == first


def test_the_place_of_a_key_is_what_it_was_in_earlier_releases():
    assert place("digits", "user 1") == 0x6F0031B18E6984CF


def test_models_are_chosen_independently():
    shares = {"canary": 50, "stable": 50}
    one, other = Split("one", shares), Split("other", shares)
    same = sum(one.choose(key) == other.choose(key) for key in KEYS)
    assert 0.45 < same / len(KEYS) < 0.55


@given(SHARES)
def test_keys_meet_the_shares(shares):
    split = Split("m", shares)
    assert deviation([split.choose(key) for key in KEYS], shares) < 3.5 * math.sqrt(len(KEYS)) / 2 + 1


@given(st.floats(0.1, 99), st.floats(0.1, 99))
def test_a_share_that_grows_takes_keys_and_gives_none_away(one, other):
    smaller, larger = sorted((one, other))
    before = Split("m", {"canary": smaller, "stable": 100 - smaller})
    after = Split("m", {"canary": larger, "stable": 100 - larger})
    moved = {(before.choose(key), after.choose(key)) for key in KEYS}
    assert moved <= {("canary", "canary"), ("stable", "stable"), ("stable", "canary")}


def test_a_single_choice_is_always_taken():
    split = Split("m", {"only": 0.1})
    assert {split.choose(), split.choose("key")} == {"only"}
