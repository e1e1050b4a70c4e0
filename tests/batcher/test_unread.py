"""Refused before it is decoded: the same as afterwards, counted once, and nobody who might be let in."""

import asyncio
import contextlib
from random import Random

import numpy as np
import pytest
from batcher_fakes import Asked, batching
from fakes import FakeExecutor, PuppetExecutor
from virtual_time import turns, virtual

from batcher.adaptive import Adaptive
from batcher.decide import Limits
from batcher.outlook import TRY_EVERY_S, Outlook
from headrace import cell
from headrace.errors import QueueFull, WouldBeLate

MOST = 8


def cost_s(rows):
    return 0.010 + 0.001 * rows


class Machine(FakeExecutor):
    """Takes what the curve says, more or less if there is a `random`."""

    def __init__(self, random=None):
        super().__init__()
        self.random = random

    async def _work(self):
        noise = self.random.lognormvariate(0, 0.1) if self.random else 1.0
        await asyncio.sleep(cost_s(len(self.seen[-1][1])) * noise)


def learnt():
    return Adaptive(Limits(MOST), 1, seed=[(rows, cost_s(rows)) for rows in (1, 2, 4, 8)])


def serving():
    return batching(Machine(), controller=learnt(), max_batch_rows=MOST)


def shed(batcher):
    return batcher.counters.cells[cell.SHED]


async def filled(batcher, rows):
    """A batch runs, and so many rows wait."""
    batcher.ask(range(MOST), timeout_s=9.0)
    await turns()
    batcher.ask(range(rows), timeout_s=9.0)


@virtual
async def test_refused_unread_and_refused_read_say_the_same():
    async with serving() as batcher:
        await filled(batcher, 2 * MOST)
        unread = batcher.refuse_unread(0.050)
        with pytest.raises(WouldBeLate) as read:
            batcher.ask([1], timeout_s=0.050)
        assert isinstance(unread, WouldBeLate)
        assert str(unread) == str(read.value)
        assert unread.retry_after_s == read.value.retry_after_s
        assert shed(batcher) == 2


@pytest.mark.parametrize("rows", [1, 2, 7, 8, 9, 40])
@virtual
async def test_whoever_is_refused_unread_would_be_refused_with_any_rows(rows):
    refused = 0
    for timeout_ms in range(20, 120):
        async with serving() as batcher:
            await filled(batcher, 2 * MOST)
            if batcher.refuse_unread(timeout_ms / 1e3):
                refused += 1
                with pytest.raises(WouldBeLate):
                    batcher.ask(range(rows), timeout_s=timeout_ms / 1e3)
    assert 0 < refused < 100


@virtual
async def test_who_is_let_in_is_counted_once_when_it_is_read():
    async with serving() as batcher:
        await filled(batcher, 1)
        outlook = batcher._deadlines.outlook
        pace, patience_s = outlook._pace, outlook.patience_s
        assert batcher.refuse_unread(5.0) is None
        assert (outlook._pace, outlook.patience_s, shed(batcher)) == (pace, patience_s, 0)


@virtual
async def test_a_refusal_stands_for_those_with_as_little_time_until_something_gets_better():
    async with serving() as batcher:
        await filled(batcher, MOST)
        refusal = batcher.refuse_unread(0.030)
        await asyncio.sleep(0.001)
        assert batcher.refuse_unread(0.030) is refusal
        assert shed(batcher) == 2
        assert batcher.refuse_unread(9.0) is None, "who has more time is asked about"
        assert batcher.refuse_unread(0.025) is not refusal, "who has less hears his own numbers"


@virtual
async def test_who_comes_when_the_last_refusal_said_is_let_in():
    async with serving() as batcher:
        await filled(batcher, MOST)
        refusal = batcher.refuse_unread(0.030)
        await asyncio.sleep(refusal.retry_after_s + 1e-6)
        assert batcher.refuse_unread(0.030) is None


@pytest.mark.parametrize("better", ["a batch has ended", "somebody has left"])
@virtual
async def test_a_refusal_falls_as_soon_as_something_is_better_than_foreseen(better):
    executor = PuppetExecutor()
    async with batching(executor, controller=learnt(), max_batch_rows=MOST) as batcher:
        batcher.ask(range(MOST), timeout_s=9.0)
        await turns()
        crowd = [batcher.ask(range(MOST), timeout_s=9.0) for _ in range(4)]
        refusal = batcher.refuse_unread(0.045)
        assert batcher.refuse_unread(0.045) is refusal
        if better == "a batch has ended":
            executor.finish()
            await turns()
            batcher.ask(range(MOST), timeout_s=9.0)  # as many wait as before
        else:
            batcher.cancel(crowd[0])
        assert batcher.refuse_unread(0.045) is not refusal


@virtual
async def test_an_executor_that_has_nothing_to_do_reads_one_request_a_second_whatever_is_expected():
    async with serving() as batcher:
        batcher.ask([1], timeout_s=9.0)
        await asyncio.sleep(2 * TRY_EVERY_S)
        assert batcher.refuse_unread(0.001) is None, "it may be tried"
        batcher.ask([1], timeout_s=0.001)
        await asyncio.sleep(0.1)
        assert isinstance(batcher.refuse_unread(0.001), WouldBeLate), "one was"


@virtual
async def test_arrivals_whose_rows_nobody_knows_are_taken_for_the_usual_ones():
    read, unread = (Outlook(learnt(), MOST) for _ in range(2))
    for outlook in (read, unread):
        for number in range(2000):
            outlook.late_by(0.001 * number, 0, 4, 0.001 * number + 9)
    for number in range(2000, 2040):
        read.late_by(0.001 * number, 10_000, 4, 0.001 * number + 0.001)
        assert unread.unread_late_by(0.001 * number, 10_000, 0.001 * number + 0.001) > 0
    assert unread._pace == pytest.approx(read._pace, rel=1e-3)


@pytest.mark.parametrize("timeout_s", [0.0, 9.0])
@virtual
async def test_a_full_queue_refuses_unread_with_and_without_a_deadline(timeout_s):
    async with batching(PuppetExecutor(), max_queue_rows=2) as batcher:
        batcher.ask([0])
        await turns()
        batcher.ask([1])
        assert batcher.refuse_unread(timeout_s) is None, "there is room for one"
        batcher.ask([2])
        unread = batcher.refuse_unread(timeout_s)
        with pytest.raises(QueueFull) as read:
            batcher.ask([3], timeout_s)
        assert isinstance(unread, QueueFull)
        assert str(unread) == str(read.value)


@virtual
async def test_bytes_that_a_row_has_at_least_tell_that_there_is_no_room():
    row = np.zeros(4, np.float32)
    async with batching(PuppetExecutor(), max_queue_bytes=2 * row.nbytes, row_bytes=row.nbytes) as batcher:
        batcher.submit(Asked([row]))
        await turns()
        batcher.submit(Asked([row]))
        assert batcher.refuse_unread(0.0) is None
        batcher.submit(Asked([row]))
        unread = batcher.refuse_unread(0.0)
        assert str(unread) == "model 'm' is overloaded: 32 bytes wait and at most 32 may (max_queue_bytes)"


@virtual
async def test_without_deadlines_and_with_room_nobody_is_refused():
    async with serving() as batcher:
        assert batcher.refuse_unread(0.001) is None, "nothing is foretold before the first request with a deadline"
        batcher.ask(range(40))
        assert batcher.refuse_unread(0.0) is None


@pytest.mark.parametrize("slo", [2.5, 5.0, 20.0])
@pytest.mark.parametrize("unread", [False, True])
@virtual
async def test_as_much_is_answered_in_time_where_most_are_refused_unread(unread, slo):
    """Five times the capacity, Poisson, batches that take 10 % more or less."""
    random = Random(1)
    capacity = MOST / cost_s(MOST)
    timeout_s, seconds = slo * cost_s(MOST), 4.0
    async with batching(Machine(random), controller=learnt(), max_batch_rows=MOST) as batcher:
        let_in, refused, at = [], 0, 0.0
        while at < seconds:
            gap_s = random.expovariate(5 * capacity)
            at += gap_s
            await asyncio.sleep(gap_s)
            if unread and batcher.refuse_unread(timeout_s):
                refused += 1
                continue
            with contextlib.suppress(WouldBeLate):
                let_in.append(batcher.ask([1], timeout_s))
        await asyncio.sleep(1)
    in_time = sum(isinstance(entry.outcome, dict) for entry in let_in)
    assert in_time > 0.93 * capacity * seconds
    assert refused > 3 * capacity * seconds or not unread
