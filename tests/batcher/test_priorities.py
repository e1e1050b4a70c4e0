"""Urgent requests go first, and who is not urgent is served within a time that is known when it comes."""

import asyncio

import pytest
from batcher_fakes import Asked, batching
from fakes import FakeExecutor, PuppetExecutor
from hypothesis import given
from hypothesis import strategies as st
from virtual_time import turns, virtual

from batcher.priorities import Priorities
from batcher.queue import RowQueue
from headrace.errors import BadRequest
from headrace.models import ModelId

AGEING_S = 2.0
PRIORITIES = Priorities(ModelId("m", 1), 3, 2, AGEING_S)


def ask(batcher, values, level=0, key=()):
    entry = Asked(values, asyncio.get_running_loop().time(), key)
    if level:
        entry.rank += PRIORITIES.later_s(level)
    batcher.submit(entry)
    return entry


def test_a_level_that_the_model_has_not_is_refused_by_name():
    with pytest.raises(BadRequest) as caught:
        PRIORITIES.later_s(4)
    assert str(caught.value) == (
        "parameter priority of the request is 4, model 'm' has the levels 1 to 3 (priority_levels), and 0 for level 2"
    )
    assert PRIORITIES.later_s(3) == AGEING_S
    assert Priorities(ModelId("m", 1), 0, 2, AGEING_S).later_s(7) == 5 * AGEING_S


@virtual
async def test_the_urgent_go_first_and_those_of_one_level_as_they_came():
    async with batching(PuppetExecutor(), max_batch_rows=1) as batcher:
        ask(batcher, [0])
        await turns()
        for value, level in ((1, 0), (2, 3), (3, 1), (4, 2), (5, 1)):
            ask(batcher, [value], level)
        batcher.executor.finish(6)
        await turns(40)
        assert [int(x[0]) for _, x in batcher.executor.seen] == [0, 3, 5, 1, 4, 2]


@virtual
async def test_the_urgent_go_first_across_shapes_too():
    async with batching(PuppetExecutor()) as batcher:
        ask(batcher, [0])
        await turns()
        ask(batcher, [1], key="a")
        ask(batcher, [2], 1, key="b")
        batcher.executor.finish(3)
        await turns(40)
        assert [int(x[0]) for _, x in batcher.executor.seen] == [0, 2, 1]


@virtual
async def test_a_flood_of_urgent_requests_starves_nobody():
    """Twice as many come as can be served. Who is not urgent is overtaken by those of the next seconds only."""
    async with batching(FakeExecutor(seconds=1), max_batch_rows=1) as batcher:
        patient = None
        for second in range(40):
            for _ in range(2):
                ask(batcher, [second], 1)
            await asyncio.sleep(0.5)
            if second == 10:
                patient = ask(batcher, [-0.0], 3)
            await asyncio.sleep(0.5)
        overtaking = 2 * int(2 * AGEING_S)
        assert patient.is_right([-0.0])
        assert [str(x[0]) for _, x in batcher.executor.seen].index("-0.0") == 2 * 11 + overtaking


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(1, 5)), min_size=1, max_size=30))
def test_nobody_is_overtaken_by_who_comes_later_than_its_levels_are_worth(requests):
    priorities = Priorities(ModelId("m", 1), 0, 2, AGEING_S)
    queue, level_of = RowQueue(), {}
    for arrived, level in sorted(requests):
        entry = Asked([1], arrived)
        entry.rank += priorities.later_s(level)
        level_of[entry] = level
        queue.append(entry)
    order = [queue.take((), 1)[0] for _ in requests]
    for index, entry in enumerate(order):
        for overtaken in order[index + 1 :]:
            if entry.arrived > overtaken.arrived:
                levels = level_of[overtaken] - level_of[entry]
                assert entry.arrived - overtaken.arrived <= levels * AGEING_S + 1e-9
