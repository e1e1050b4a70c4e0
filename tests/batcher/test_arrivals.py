"""The last requests as a load that can be run again."""

import pytest

from batcher.arrivals import FEWEST, Arrivals


def came(arrivals, times, client=0):
    for now in times:
        arrivals.arrived(now, 1, client)


def test_a_client_that_was_answered_comes_back_after_a_think_time():
    arrivals = Arrivals()
    arrivals.arrived(0.0, 1, 7)
    arrivals.finished(1.0, [7])
    arrivals.arrived(1.5, 2, 7)
    load = arrivals.load()
    assert (load.clients, load.thinks, load.opens, load.rows) == (1, [0.5], [], [1, 2])


def test_what_was_known_is_known_until_there_is_enough_of_the_new():
    arrivals = Arrivals()
    came(arrivals, range(100))
    arrivals.forget()
    came(arrivals, range(1000, 1000 + FEWEST - 1))
    assert (arrivals.fresh, len(arrivals), arrivals.span()) == (FEWEST - 1, 100, 99)
    came(arrivals, [2000])
    assert (arrivals.fresh, len(arrivals), arrivals.load().opens[-1]) == (FEWEST, FEWEST, 1000)


def test_a_few_old_ones_give_way_to_as_many_new_ones():
    arrivals = Arrivals()
    came(arrivals, range(3))
    arrivals.forget()
    came(arrivals, [10, 11])
    assert arrivals.load().opens == [0, 1, 2]
    came(arrivals, [15])
    assert arrivals.load().opens == [0, 1, 5]


@pytest.mark.parametrize(("rows_per_batch", "kept"), [(1, 512), (40, 1280), (100, 2048)])
def test_where_batches_are_large_more_requests_are_remembered(rows_per_batch, kept):
    arrivals = Arrivals()
    for batch in range(100):
        came(arrivals, [batch] * rows_per_batch)
        arrivals.finished(batch, ())
        arrivals.adjust()
    assert arrivals.kept == kept
    assert arrivals.fresh == min(kept, 100 * rows_per_batch)


def test_who_comes_again_and_again_alone_is_told_from_several_and_from_who_is_not_known():
    for clients, lone in (([7], True), ([7, 8], False), ([0], False), ([7, 0], False)):
        arrivals = Arrivals()
        for number in range(40):
            arrivals.arrived(number * 0.1, 1, clients[number % len(clients)])
        assert arrivals.lone is lone, clients
