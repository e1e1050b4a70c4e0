"""Batches that are too large for the memory there is: run again as smaller ones, and smaller ones for a while."""

import asyncio
import logging

import numpy as np
import pytest
from batcher_fakes import Asked, batching
from fakes import FakeExecutor, SmallExecutor
from virtual_time import turns, virtual

from headrace.errors import OutOfMemory


@virtual
async def test_a_batch_that_does_not_fit_is_run_in_smaller_ones_and_nobody_hears_of_it():
    async with batching(SmallExecutor(fits=3)) as batcher:
        entries = [batcher.ask([value]) for value in range(8)]
        await turns(60)
        assert all(entry.is_right([value]) for value, entry in enumerate(entries))
        assert batcher.executor.batches == [8, 4, 2, 2, 2, 2]


@virtual
async def test_later_batches_are_no_larger_than_what_fitted_until_a_while_has_passed(caplog):
    caplog.set_level(logging.INFO, "headrace.batcher")
    async with batching(SmallExecutor(fits=3)) as batcher:
        for _ in range(8):
            batcher.ask([1])
        await turns(60)
        batcher.executor.seen.clear()
        for _ in range(8):
            batcher.ask([1])
        await turns(60)
        assert batcher.executor.batches == [2, 2, 2, 2]
        batcher.executor.fits = 100
        batcher.executor.seen.clear()
        for _ in range(20):
            await asyncio.sleep(31)
            for _ in range(8):
                batcher.ask([1])
        await turns(60)
        assert batcher.executor.batches[-1] == 8
    assert caplog.text.count("a batch of 8 rows failed for want of memory: no room for 8 rows") == 1
    assert "the memory is enough for batches of 4 rows, not 8" in caplog.text
    assert "the memory is enough for batches of 8 rows, not 7" in caplog.text


@virtual
async def test_one_request_with_too_many_rows_for_the_memory_is_cut():
    async with batching(SmallExecutor(fits=3)) as batcher:
        large, mate = batcher.ask(range(7)), batcher.ask([9])
        await turns(60)
        assert large.is_right(range(7))
        assert mate.is_right([9])
        assert max(batcher.executor.batches[-3:]) <= 3


@virtual
async def test_a_request_that_was_cut_before_is_cut_again():
    async with batching(SmallExecutor(fits=1)) as batcher:
        values = np.arange(40).reshape(20, 2)
        entry = batcher.ask(values)
        await turns(200)
        assert entry.is_right(values)


@virtual
async def test_cancelling_a_request_that_was_cut_again_takes_all_of_it_out_of_the_queue():
    async with batching(SmallExecutor(fits=1, seconds=1)) as batcher:
        entry = batcher.ask(range(20))
        await asyncio.sleep(5.5)
        assert batcher.queue_rows > 10
        batcher.cancel(entry)
        assert batcher.queue_rows == 0
        ran = len(batcher.executor.seen)
        await asyncio.sleep(50)
        assert len(batcher.executor.seen) == ran
        assert entry.deliveries == []


@virtual
async def test_a_row_that_does_not_fit_alone_is_its_own_error_and_its_mates_go_on_sharing():
    class Hungry(FakeExecutor):
        async def run(self, inputs):
            outputs = await super().run(inputs)
            if (inputs["x"] > 1000).any():
                raise OutOfMemory("a thousand is too much")
            return outputs

    for place in range(8):
        async with batching(Hungry()) as batcher:
            entries = [batcher.ask([9999 if value == place else value]) for value in range(8)]
            await turns(60)
            assert isinstance(entries.pop(place).outcome, OutOfMemory)
            assert all(len(entry.outcome["y"]) == 1 for entry in entries)
            for _ in range(2):
                batcher.executor.seen.clear()
                for _ in range(8):
                    batcher.ask([1])
                await turns(60)
            assert batcher.executor.batches == [8]


@virtual
async def test_no_memory_to_put_a_batch_together_is_no_memory_for_a_batch():
    class Vast(np.ndarray):
        def __array_function__(self, function, types, arguments, options):
            if function is np.concatenate and len(arguments[0]) > 2:
                raise MemoryError("Unable to allocate 1 TiB")
            return super().__array_function__(function, types, arguments, options)

    async with batching(FakeExecutor()) as batcher:
        entries = [batcher.ask([value]) for value in range(8)]
        for entry in entries:
            entry.inputs = {"x": entry.inputs["x"].view(Vast)}
        await turns(60)
        assert batcher.executor.batches == [2, 2, 2, 2]
        assert all(entry.is_right([value]) for value, entry in enumerate(entries))


@virtual
async def test_a_model_without_batches_says_that_memory_was_short():
    async with batching(SmallExecutor(fits=1), max_batch_rows=1, batched=False) as batcher:
        entry = Asked([1, 2])
        entry.rows = 1
        batcher.submit(entry)
        await turns()
        assert isinstance(entry.outcome, OutOfMemory)
        assert batcher.executor.batches == [2]
        small = batcher.ask([1])
        await turns()
        assert small.is_right([1])


@pytest.mark.parametrize("rows", [0, 1])
@virtual
async def test_requests_with_hardly_a_row_that_do_not_fit_are_told_apart_all_the_same(rows):
    async with batching(SmallExecutor(fits=-1)) as batcher:
        entries = [batcher.ask([1] * rows), batcher.ask([]), batcher.ask([])]
        await turns(60)
        assert all(isinstance(entry.outcome, OutOfMemory) for entry in entries)
