"""How many rows make a batch, from the seconds that batches take."""

import pytest

from batcher.sizes import best_rows, largest_good, most_in_flight, sizes


def ceiling(rows):
    """Rows per second rise up to 8 rows, fall past 16."""
    return (4 + rows) * (1.0 if rows <= 16 else rows / 16)


CURVE = [0.0, *map(ceiling, range(1, 65))]


def test_the_best_batch_has_the_most_rows_per_second():
    assert best_rows(CURVE) == 16
    assert best_rows([0.0, 1.0, 2.0]) == 1, "of equals the smallest"


def test_a_request_is_worth_a_batch_of_its_own_up_to_where_the_rate_has_fallen_by_a_tenth():
    known = [(rows, ceiling(rows)) for rows in (1, 2, 4, 8, 16, 17, 32, 64)]
    assert largest_good(known) == 17
    assert largest_good(known[:5]) == 16


@pytest.mark.parametrize(
    ("slowdown", "batches"),
    [([1, 1, 2, 3, 4], 1), ([1, 1, 1.4], 2), ([1, 1, 1.05, 1.5, 2], 2), ([1, 1, 1, 1, 1], 4), ([1, 1], 1)],
)
def test_as_many_batches_are_in_flight_as_add_more_than_a_tenth(slowdown, batches):
    assert most_in_flight(slowdown) == batches


def test_a_backlog_is_taken_in_batches_of_the_best_size():
    table = sizes(tuple(CURVE), 16, 0.0, 4)
    assert [table[rows] for rows in (1, 5, 16)] == [1, 5, 16]
    assert table[-1] == 16


def test_rows_that_would_open_a_step_for_a_few_are_left_behind():
    steps = [0.0, *(1.0 if rows <= 4 else 2.0 if rows <= 8 else 4.0 for rows in range(1, 17))]
    table = sizes(tuple(steps), 16, 0.9, 4)
    assert [table[rows] for rows in (3, 4, 5, 6, 7, 8, 9)] == [3, 4, 4, 4, 4, 8, 8]
