"""Not let in, gone before the answer, or out of time: all ways for a request to have no outputs and do no harm."""

import asyncio

import pytest
from batcher_fakes import Asked, batching
from fakes import FakeExecutor, PuppetExecutor
from virtual_time import turns, virtual

from headrace.errors import BadRequest, DeadlineExceeded, QueueFull


@virtual
async def test_a_full_queue_refuses_at_the_door_and_loses_nothing():
    async with batching(PuppetExecutor(), max_queue_rows=3) as batcher:
        running = batcher.ask([0])
        await turns()
        waiting = [batcher.ask([1, 2]), batcher.ask([3])]
        refused = Asked([4])
        with pytest.raises(QueueFull, match=r"3 rows wait and at most 3 may \(max_queue_rows\)"):
            batcher.submit(refused)
        assert batcher.queue_rows == 3
        batcher.executor.finish(2)
        await turns()
        assert running.is_right([0])
        assert waiting[0].is_right([1, 2])
        assert waiting[1].is_right([3])
        assert refused.deliveries == []
        assert batcher.queue_rows == 0


@virtual
async def test_a_request_that_can_never_fit_the_queue_is_the_clients_mistake():
    async with batching(FakeExecutor(), max_queue_rows=3) as batcher:
        with pytest.raises(BadRequest, match="at most 3 rows, the request has 4"):
            batcher.ask([1, 2, 3, 4])


@virtual
async def test_a_cancelled_request_of_a_running_batch_leaves_its_mates_alone():
    async with batching(PuppetExecutor()) as batcher:
        one, two, three = (batcher.ask([value]) for value in (1, 2, 3))
        await turns()
        batcher.cancel(two)
        batcher.executor.finish()
        await turns()
        assert one.is_right([1])
        assert two.deliveries == []
        assert three.is_right([3])


@virtual
async def test_a_request_cancelled_while_it_waits_never_runs_and_frees_its_rows():
    async with batching(PuppetExecutor(), max_queue_rows=2) as batcher:
        batcher.ask([0])
        await turns()
        waiting = batcher.ask([1, 1])
        with pytest.raises(QueueFull):
            batcher.ask([2])
        batcher.cancel(waiting)
        batcher.cancel(waiting)
        assert batcher.queue_rows == 0
        last = batcher.ask([3, 3])
        batcher.executor.finish(2)
        await turns()
        assert batcher.executor.batches == [1, 2]
        assert last.is_right([3, 3])
        assert waiting.deliveries == []


@virtual
async def test_a_cancelled_request_no_longer_makes_its_group_full_or_ripe():
    async with batching(FakeExecutor(), max_batch_rows=2, delay_s=1) as batcher:
        gone = batcher.ask([1])
        await asyncio.sleep(0.5)
        batcher.cancel(gone)
        entry = batcher.ask([2])
        await asyncio.sleep(0.9)
        assert batcher.executor.seen == []
        await asyncio.sleep(1)
        assert batcher.executor.starts == [1.5]
        assert entry.is_right([2])


@pytest.mark.parametrize("ahead", [[], [0]], ids=["while it runs", "while it waits"])
@virtual
async def test_a_request_whose_timeout_passes_is_told_once(ahead):
    async with batching(PuppetExecutor()) as batcher:
        if ahead:
            batcher.ask(ahead)
            await turns()
        entry = batcher.ask([1], timeout_s=0.5)
        mate = batcher.ask([2])
        await asyncio.sleep(0.4)
        assert entry.deliveries == []
        await asyncio.sleep(0.2)
        assert isinstance(entry.outcome, DeadlineExceeded)
        assert str(entry.outcome) == "the request's timeout of 500 ms passed before it could be answered"
        batcher.executor.finish(2)
        await asyncio.sleep(100)
        assert len(entry.deliveries) == 1
        assert mate.is_right([2])
        assert batcher.executor.batches == ([1, 1] if ahead else [2])


@virtual
async def test_a_request_answered_or_cancelled_in_time_does_not_expire():
    async with batching(PuppetExecutor()) as batcher:
        answered, cancelled = batcher.ask([1], timeout_s=0.5), batcher.ask([2], timeout_s=0.5)
        await turns()
        batcher.cancel(cancelled)
        batcher.executor.finish()
        await asyncio.sleep(100)
        assert answered.is_right([1])
        assert cancelled.deliveries == []
