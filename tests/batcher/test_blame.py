"""What it costs to find out who is to blame, counted run by run; no executor and no loop."""

import itertools
import random

import pytest
from batcher_fakes import Asked
from hypothesis import given
from hypothesis import strategies as st

from batcher.blame import Blame


def taken_apart(requests, poisons, blame):
    """Runs until everyone has an answer: (how many there were, who failed), in the order of the queue."""
    entries = [Asked([number]) for number in range(requests)]
    number_of = {id(entry): number for number, entry in enumerate(entries)}
    parts, runs, failed = [entries], 0, []
    while parts:
        part = parts.pop(0)
        runs += 1
        assert {id(entry.part) for entry in part} == {id(part[0].part)}
        if not any(number_of[id(entry)] in poisons for entry in part):
            blame.worked()
            continue
        if len(part) == 1:
            blame.failed_alone()
            failed.append(number_of[id(part[0])])
        else:
            parts = blame.parts(part) + parts
    return runs, failed


def log2(requests):
    return (requests - 1).bit_length()


@given(st.integers(2, 200), st.randoms(use_true_random=False), st.floats(0, 1))
def test_only_poisons_fail_and_the_runs_are_bounded(requests, dice, rate):
    poisons = {number for number in range(requests) if dice.random() < rate}
    runs, failed = taken_apart(requests, poisons, Blame())
    assert failed == sorted(poisons)
    assert runs <= 1 + requests + 3 * log2(requests)


@pytest.mark.parametrize("requests", [2, 7, 8, 64])
def test_one_or_two_poisons_are_found_by_halves_wherever_they_stand(requests):
    for pair in itertools.product(range(requests), repeat=2):
        runs, failed = taken_apart(requests, set(pair), Blame())
        assert failed == sorted(set(pair))
        assert runs <= 1 + 2 * len(set(pair)) * log2(requests)


@pytest.mark.parametrize("requests", [2, 5, 8, 64])
def test_a_broken_model_costs_a_run_for_each_request_and_one_for_the_batch(requests):
    blame = Blame()
    runs, _ = taken_apart(requests, set(range(requests)), blame)
    assert runs <= 1 + requests + 3 * log2(requests)
    for _ in range(3):
        assert taken_apart(requests, set(range(requests)), blame) == (1 + requests, list(range(requests)))


def test_a_model_that_works_again_is_taken_apart_by_halves_again():
    blame = Blame()
    taken_apart(64, set(range(64)), blame)
    assert taken_apart(64, {17}, blame)[0] == 1 + 64
    assert taken_apart(64, {17}, blame)[0] <= 1 + 2 * log2(64)


def test_one_request_in_a_hundred_costs_a_batch_of_64_eight_more_runs_on_average():
    dice, runs = random.Random(1), 0
    for _ in range(1000):
        runs += taken_apart(64, {number for number in range(64) if dice.random() < 0.01}, Blame())[0]
    assert 7 < runs / 1000 - 1 < 8


def test_who_is_done_is_in_no_part():
    entries = [Asked([number]) for number in range(4)]
    entries[0].done = entries[3].done = True
    parts = Blame().parts(entries)
    assert parts == [[entries[1]], [entries[2]]]
    entries[1].done = entries[2].done = True
    assert Blame().parts(entries) == []
