"""The search for the highest rate at which criteria hold."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.highest import Highest


def searched(search, holds):
    rates = []
    while (rate := search.propose()) is not None:
        rates.append(rate)
        search.ran(rate, held=holds(rate))
    return rates


@given(st.floats(1, 1e6), st.floats(1, 1e4))
def test_it_ends_just_below_the_capacity_wherever_that_is(capacity, first):
    search = Highest(first)
    rates = searched(search, lambda rate: rate <= capacity)
    assert capacity / 1.06 <= search.best <= capacity
    assert rates.count(search.best) >= 2, "the answer has been seen twice"
    assert len(rates) <= 40


def test_one_unlucky_run_decides_nothing():
    search = Highest(100)
    runs = 0

    def holds(rate):
        nonlocal runs
        runs += 1
        return rate <= 1000 and runs != 3

    assert searched(search, holds)[2] == 400
    assert 900 <= search.best <= 1000


def test_where_nothing_holds_there_is_no_answer():
    search = Highest(100)
    rates = searched(search, lambda rate: False)
    assert search.best is None
    assert min(rates) < 1


@pytest.mark.parametrize("seed", range(5))
def test_a_noisy_server_gives_an_answer_near_its_capacity(seed):
    noise = random.Random(seed)
    search = Highest(50)
    searched(search, lambda rate: rate <= 1000 * noise.uniform(0.9, 1.1))
    assert 800 <= search.best <= 1150
