import asyncio

import numpy as np
import pytest
from batcher_fakes import batching
from fakes import POISON, FakeExecutor, PuppetExecutor
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_time import run_virtual, turns, virtual

from batcher.adaptive import Adaptive
from batcher.decide import Limits
from headrace import cell
from headrace.errors import DeadlineExceeded, ExecutorFailed


@virtual
async def test_a_large_request_is_cut_and_comes_back_whole():
    async with batching(FakeExecutor(), max_batch_rows=4) as batcher:
        entry = batcher.ask(range(10))
        await turns(30)
        assert batcher.executor.batches == [4, 4, 2]
        assert entry.is_right(range(10))


@settings(deadline=None)
@given(st.integers(0, 40), st.integers(1, 7), st.integers(1, 3))
def test_rows_come_back_in_order_whatever_the_cut(rows, most, slots):
    async def scenario():
        async with batching(FakeExecutor(slots, seconds=1), max_batch_rows=most) as batcher:
            values = np.arange(2 * rows).reshape(rows, 2)
            large, small = batcher.ask(values), batcher.ask([[5, 6]])
            await asyncio.sleep(100)
            assert large.is_right(values)
            assert small.is_right([[5, 6]])

    run_virtual(scenario())


@virtual
async def test_the_rest_of_a_large_request_shares_its_batch_with_others():
    async with batching(FakeExecutor(), max_batch_rows=4) as batcher:
        large, small = batcher.ask(range(5)), batcher.ask([7, 8])
        await turns(30)
        assert batcher.executor.batches == [4, 3]
        assert large.is_right(range(5))
        assert small.is_right([7, 8])


@virtual
async def test_pieces_run_side_by_side():
    async with batching(FakeExecutor(slots=3, seconds=1), max_batch_rows=2) as batcher:
        entry = batcher.ask(range(6))
        await asyncio.sleep(1.5)
        assert entry.is_right(range(6))


@virtual
async def test_pieces_that_end_in_another_order_are_joined_in_theirs():
    class Slower(FakeExecutor):
        async def _work(self):
            await asyncio.sleep(10 - len(self.seen))

    async with batching(Slower(slots=3), max_batch_rows=2) as batcher:
        entry = batcher.ask(range(6))
        await asyncio.sleep(20)
        assert entry.is_right(range(6))


@virtual
async def test_its_error_is_delivered_once_and_what_still_waits_is_not_run():
    async with batching(FakeExecutor(), max_batch_rows=2) as batcher:
        entry = batcher.ask([1, 2, POISON, 3, 4, 5, POISON])
        mate = batcher.ask([6])
        await turns(40)
        assert isinstance(entry.outcome, ExecutorFailed)
        assert batcher.executor.batches == [2, 2, 1]
        assert mate.is_right([6])
        assert batcher.queue_rows == 0


@virtual
async def test_an_error_while_its_other_pieces_run_is_delivered_once():
    async with batching(PuppetExecutor(slots=2), max_batch_rows=2) as batcher:
        entry = batcher.ask([POISON, 1, POISON, 2, 3])
        await turns()
        batcher.executor.finish()
        await turns()
        assert isinstance(entry.outcome, ExecutorFailed)
        assert batcher.queue_rows == 0
        batcher.executor.finish(5)
        await turns()
        assert len(entry.deliveries) == 1
        assert batcher.executor.batches == [2, 2]


@virtual
async def test_cancelling_it_takes_all_that_waits_out_of_the_queue():
    async with batching(PuppetExecutor(), max_batch_rows=2, max_queue_rows=7) as batcher:
        entry = batcher.ask(range(7))
        await turns()
        assert batcher.queue_rows == 5
        batcher.cancel(entry)
        assert batcher.queue_rows == 0
        other = batcher.ask(range(7))
        batcher.executor.finish(9)
        await turns(30)
        assert entry.deliveries == []
        assert other.is_right(range(7))
        assert batcher.executor.batches == [2, 2, 2, 2, 1]


@virtual
async def test_its_timeout_is_told_once():
    async with batching(FakeExecutor(seconds=10), max_batch_rows=2) as batcher:
        entry = batcher.ask(range(7), timeout_s=15)
        await asyncio.sleep(16)
        assert isinstance(entry.outcome, DeadlineExceeded)
        assert batcher.queue_rows == 0
        await asyncio.sleep(100)
        assert len(entry.deliveries) == 1
        assert batcher.executor.batches == [2, 2]


@pytest.mark.parametrize(("rows", "fits"), [(10, True), (11, False)])
@virtual
async def test_all_its_rows_must_fit_the_queue_at_once(rows, fits):
    async with batching(PuppetExecutor(), max_batch_rows=2, max_queue_rows=10) as batcher:
        if fits:
            batcher.ask(range(rows))
            assert batcher.queue_rows == 10
        else:
            with pytest.raises(Exception, match="at most 10 rows, the request has 11"):
                batcher.ask(range(rows))
            assert batcher.queue_rows == 0


@virtual
async def test_pieces_are_as_old_as_the_request():
    async with batching(FakeExecutor(), max_batch_rows=4, delay_s=1) as batcher:
        await asyncio.sleep(5)
        batcher.ask(range(5))
        await asyncio.sleep(5)
        assert batcher.executor.starts == [5, 6]
        assert batcher.counters.cells[cell.QUEUE_NS] == pytest.approx(1e9)


@virtual
async def test_a_large_request_is_cut_where_a_batch_of_all_its_rows_would_not_pay():
    seed = [(rows, (4 + rows) * max(1.0, rows / 16) / 1e3) for rows in (1, 2, 4, 8, 16, 32, 64)]
    controller = Adaptive(Limits(64), seed=seed)
    async with batching(FakeExecutor(), max_batch_rows=64, controller=controller) as batcher:
        entry = batcher.ask(range(50))
        await turns(30)
        assert batcher.executor.batches == [16, 16, 16, 2]
        assert entry.is_right(range(50))
