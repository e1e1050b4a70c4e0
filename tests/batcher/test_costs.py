"""What is learnt of a batch's cost by its rows and its padded length."""

import random

import pytest

from batcher.costs import REFIT, UNKNOWN, Costs, Terms, fit

TRUE = Terms(run=300e-6, row=20e-6, token=9e-6, square=2e-8)
GRID = [(rows, length) for rows in (1, 4, 16) for length in (4, 16, 64)]


def timed(terms, shapes=GRID, noise=0.0, seed=0):
    draw = random.Random(seed)
    return [(rows, length, terms.seconds(rows, length) * draw.uniform(1 - noise, 1 + noise)) for rows, length in shapes]


def test_the_terms_are_found():
    assert fit(timed(TRUE)) == pytest.approx(TRUE, rel=1e-3)


def test_nothing_known_pads_nothing():
    assert Costs().terms == UNKNOWN


@pytest.mark.parametrize("terms", [TRUE._replace(square=0.0), TRUE._replace(row=0.0), Terms(1e-3, 0.0, 0.0, 0.0)])
def test_no_term_is_below_zero_whatever_the_noise(terms):
    for seed in range(20):
        assert min(fit(timed(terms, noise=0.3, seed=seed))) >= 0


def test_one_run_is_enough_to_begin_with():
    found = fit([(2, 8, 1e-3)])
    assert found.seconds(2, 8) == pytest.approx(1e-3)


def test_what_the_runs_say_takes_the_place_of_what_was_timed_at_load():
    costs = Costs(timed(TRUE))
    other = Terms(run=3e-3, row=20e-6, token=9e-6, square=0.0)
    for rows, length, seconds in timed(other, [(rows, length) for rows in range(1, 9) for length in range(4, 68, 2)]):
        costs.ran(rows, length, seconds)
    assert costs.terms.run == pytest.approx(other.run, rel=0.3)


def test_on_a_slower_machine_traffic_of_one_shape_leaves_the_proportions_as_they_were():
    costs = Costs(timed(TRUE))
    for _ in range(REFIT):
        costs.ran(4, 16, 3 * TRUE.seconds(4, 16))
    assert costs.terms == pytest.approx([3 * term for term in TRUE], rel=0.05)


def test_a_few_runs_that_were_held_up_change_little():
    costs = Costs(timed(TRUE))
    draw = random.Random(1)
    for number in range(2 * REFIT):
        rows, length = draw.randint(1, 12), draw.randint(4, 60)
        costs.ran(rows, length, TRUE.seconds(rows, length) * (50 if number % 20 == 0 else 1))
    assert costs.terms.seconds(8, 32) == pytest.approx(TRUE.seconds(8, 32), rel=0.15)
