"""Who wakes and who makes room, as tables and as laws."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_repo.awake import NO_LIMITS, Change, Limits, Model, decide


def models(text):
    """`a:5@3` is awake, has 5 bytes and was used at 3; `b:5?1` is asked for as number 1; `c:5+` is eager; `!`: failed.

    A small letter is awake, a capital one asleep.
    """
    found = []
    for word in text.split():
        numbers = dict(re.findall(r"([:@?])(\d+)", word))
        size, used = int(numbers.get(":", 1)), int(numbers.get("@", 0))
        asked = int(numbers["?"]) if "?" in numbers else None
        found.append(Model(word[0], size, word[0].islower(), used, asked, "+" in word, "!" not in word))
    return found


@pytest.mark.parametrize(
    ("snapshot", "limits", "sleep", "wake"),
    [
        ("", Limits(1), "", ""),
        ("A B", NO_LIMITS, "", ""),  # nobody asks: all sleep on
        ("A B?0", NO_LIMITS, "", "B"),
        ("a@1 b@2", Limits(2), "", ""),  # nobody goes before its place is needed
        ("a@1 B?0", Limits(2), "", "B"),
        ("a@2 b@1 C?0", Limits(2), "b", "C"),  # the least recently used makes room
        ("a@1 b@1 C?0", Limits(2), "a", "C"),  # by name if there is no other difference
        ("a@1?1 b@2 C?0", Limits(2), "b", "C"),  # one that is asked for itself does not
        ("a@1?0 b@2?1 C?2", Limits(2), "", ""),  # then there is no room
        ("a@1 B?1 C?0", Limits(1), "a", "C"),  # first come, first served
        ("a?0 B?1 C?2", Limits(1), "", ""),
        ("a:9@1?0 B:3?1 C:1?2", Limits(bytes=10), "", ""),  # nobody overtakes one that waits for room
        ("a:4@1 b:4@2 C:3?0", Limits(bytes=10), "a", "C"),
        ("a:1@1 b:8@2 C:5?0", Limits(bytes=10), "a b", "C"),  # strictly in order, though b alone would do
        ("a:4@1 b:4@2?0 C:7?1", Limits(bytes=10), "", ""),  # a's place would not be enough: it stays
        ("a:4@1 b:4@2 C:2?0", Limits(2, 10), "a", "C"),  # both limits count
        ("A:4+ B:4+ C:4+ D:1+", Limits(bytes=10), "", "A B D"),  # what fits, by name
        ("A+ B+ C+", Limits(2), "", "A B"),
        ("a@1 B+ C?0", Limits(2), "", "C"),  # whoever is asked for comes before whoever is eager
        ("a@1 B+", Limits(1), "", ""),  # nobody makes room for one that is only eager
        ("a:9@1 b:9@2", Limits(bytes=10), "a", ""),  # they have grown
        ("a:9@1?0 b:9@2?1 c:1@3", Limits(bytes=10), "c", ""),  # as far as that can be helped
        ("a@1! b@2 C?0", Limits(2), "", "C"),  # a failure takes no place
        ("a@1! b@2 c@3 D?0", Limits(2), "b", "D"),  # and has none to give
    ],
)
def test_what_to_do(snapshot, limits, sleep, wake):
    assert decide(models(snapshot), limits) == Change(tuple(sleep.split()), tuple(wake.split()))


@st.composite
def situations(draw):
    """Awake ones that keep to the limits or do not, and no model that is larger than they are."""
    most, size = draw(st.none() | st.integers(1, 4)), draw(st.none() | st.integers(3, 12))
    count = draw(st.integers(0, 8))
    places = draw(st.permutations(range(count)))
    row = st.tuples(
        st.integers(0, size or 9), st.booleans(), st.integers(0, 4), st.booleans(), st.booleans(), st.booleans()
    )
    rows = [
        Model(f"m{at}", weight, awake, used, places[at] if asked else None, eager, weighs or not awake)
        for at, (weight, awake, used, asked, eager, weighs) in enumerate(draw(st.tuples(*[row] * count)))
    ]
    return rows, Limits(most, size)


def after(rows, change):
    return [replace(one, awake=(one.awake and one.name not in change.sleep) or one.name in change.wake) for one in rows]


def awake(rows):
    return [one for one in rows if one.awake and one.weighs]


def within(limits, rows):
    return limits.allow(len(rows), sum(one.size for one in rows))


@given(situations())
def test_once_obeyed_there_is_nothing_more_to_say(situation):
    rows, limits = situation
    assert decide(after(rows, decide(rows, limits)), limits) == Change()


@given(situations())
def test_the_limits_are_kept_unless_those_who_are_asked_for_are_too_many_by_themselves(situation):
    rows, limits = situation
    left = awake(after(rows, decide(rows, limits)))
    assert within(limits, left) or all(one.asked is not None for one in left)


@given(situations())
def test_only_the_idle_make_room_and_the_least_recently_used_before_the_others(situation):
    rows, limits = situation
    change = decide(rows, limits)
    by_name = {one.name: one for one in rows}
    gone = [by_name[name] for name in change.sleep]
    assert all(one.awake and one.asked is None and one.weighs for one in gone)
    stayed = [one for one in awake(rows) if one.asked is None and one.name not in change.sleep]
    assert all((one.used, one.name) < (other.used, other.name) for one in gone for other in stayed)


@given(situations())
def test_whoever_is_asked_for_wakes_in_turn_and_at_the_latest_when_it_is_alone(situation):
    rows, limits = situation
    change = decide(rows, limits)
    queue = [
        one.name for one in sorted(rows, key=lambda one: one.asked or 0) if one.asked is not None and not one.awake
    ]
    woken = [name for name in change.wake if name in queue]
    assert woken == queue[: len(woken)]
    if queue and not any(one.asked is not None and one.awake and one.weighs for one in rows):
        assert woken  # nobody that may not be sent away stands in its way


@given(situations())
def test_nobody_is_sent_away_for_nothing(situation):
    rows, limits = situation
    change = decide(rows, limits)
    asked = {one.name for one in rows if one.asked is not None}
    if within(limits, awake(rows)) and not asked.intersection(change.wake):
        assert not change.sleep
