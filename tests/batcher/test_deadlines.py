"""Requests with a deadline in the batcher, under virtual time: let in, refused, gone, expired, and never twice."""

import asyncio
import contextlib
from random import Random

import numpy as np
import pytest
from batcher_fakes import Asked, batching
from fakes import FakeExecutor
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_time import run_virtual, turns, virtual

from batcher.adaptive import Adaptive
from batcher.decide import Limits
from headrace import cell
from headrace.errors import BadRequest, DeadlineExceeded, QueueFull, WouldBeLate

SWEEP = (1, 2, 4, 8)
FIXED_S, ROW_S = 0.010, 0.001
MOST = 8


def cost_s(rows):
    return FIXED_S + ROW_S * rows


class Machine(FakeExecutor):
    """Takes what the curve says, times the next of `noise`."""

    def __init__(self, noise=(1.0,)):
        super().__init__()
        self.noise = noise

    async def _work(self):
        number = len(self.seen) - 1
        await asyncio.sleep(cost_s(len(self.seen[-1][1])) * self.noise[number % len(self.noise)])


def learnt():
    return Adaptive(Limits(MOST), 1, seed=[(rows, cost_s(rows)) for rows in SWEEP])


def serving(noise=(1.0,), **options):
    return batching(Machine(noise), controller=learnt(), max_batch_rows=MOST, **options)


def left(batcher):
    return {name: batcher.counters.cells[at] for name, at in LEFT.items() if batcher.counters.cells[at]}


LEFT = {"shed": cell.SHED, "left_late": cell.LEFT_LATE, "expired": cell.EXPIRED}


@virtual
async def test_who_would_be_late_is_refused_on_arrival_and_told_when_to_try_again():
    async with serving() as batcher:
        first = [batcher.ask([value], timeout_s=1.0) for value in range(MOST)]
        await turns()
        more = [batcher.ask([value], timeout_s=1.0) for value in range(2 * MOST)]
        with pytest.raises(WouldBeLate, match=r"would be answered in [\d.]+ ms, its timeout is 50 ms") as refusal:
            batcher.ask([1], timeout_s=0.050)
        assert left(batcher) == {"shed": 1}
        await asyncio.sleep(refusal.value.retry_after_s)
        again = batcher.ask([1], timeout_s=0.050)
        await asyncio.sleep(1)
        assert again.is_right([1]), "then it is in time, if nobody else has come"
        assert all(len(entry.deliveries) == 1 for entry in first + more)
        assert left(batcher) == {"shed": 1}


@virtual
async def test_a_refused_request_leaves_nothing_behind():
    async with serving() as batcher:
        batcher.ask([0], timeout_s=1.0)
        await turns()
        refused = Asked([1], asyncio.get_running_loop().time())
        with pytest.raises(WouldBeLate):
            batcher.submit(refused, 0.001)
        assert (batcher.queue_rows, batcher._queue.bytes) == (0, 0)
        await asyncio.sleep(10)
        assert refused.deliveries == []
        assert batcher.executor.batches == [1]


@virtual
async def test_requests_without_a_deadline_are_never_refused_for_time():
    async with serving() as batcher:
        entries = [batcher.ask([value]) for value in range(500)]
        await asyncio.sleep(10)
        assert all(entry.is_right([value]) for value, entry in enumerate(entries))
        assert batcher._deadlines.outlook is None, "nobody had one: nothing was noted"


@virtual
async def test_heads_that_became_late_leave_before_a_batch_is_formed():
    async with serving(noise=(1.0, 6.0, 1.0)) as batcher:
        batcher.ask([0], timeout_s=1.0)
        await asyncio.sleep(1)
        slow = batcher.ask([1], timeout_s=1.0)
        await turns()
        heads = [batcher.ask([value], timeout_s=0.070) for value in range(2)]
        behind = [batcher.ask([value], timeout_s=1.0) for value in range(MOST)]
        await asyncio.sleep(0.067)
        assert slow.is_right([1]), "it took six times as long as expected"
        assert all(isinstance(entry.outcome, WouldBeLate) for entry in heads)
        assert all(entry.outcome.retry_after_s > 0 for entry in heads)
        await asyncio.sleep(1)
        assert batcher.executor.batches == [1, 1, MOST]
        assert all(entry.is_right([value]) for value, entry in enumerate(behind))
        assert left(batcher) == {"left_late": 2}
        assert batcher.queue_rows == batcher._queue.bytes == 0


@virtual
async def test_if_all_who_wait_are_late_the_slot_goes_on_waiting():
    async with serving(noise=(1.0, 6.0, 1.0)) as batcher:
        batcher.ask([0], timeout_s=1.0)
        await asyncio.sleep(1)
        batcher.ask([1], timeout_s=1.0)
        await turns()
        head = batcher.ask([2], timeout_s=0.070)
        await asyncio.sleep(0.067)
        assert isinstance(head.outcome, WouldBeLate)
        last = batcher.ask([3], timeout_s=1.0)
        await asyncio.sleep(1)
        assert last.is_right([3])
        assert batcher.executor.batches == [1, 1, 1]


@virtual
async def test_a_large_request_that_became_late_leaves_with_all_its_pieces():
    async with serving(noise=(1.0, 9.0, 1.0)) as batcher:
        batcher.ask([0], timeout_s=1.0)
        await asyncio.sleep(1)
        batcher.ask([1], timeout_s=1.0)
        await turns()
        large = batcher.ask(range(2 * MOST + 1), timeout_s=0.110)
        behind = batcher.ask(range(MOST), timeout_s=1.0)
        await asyncio.sleep(1)
        assert isinstance(large.outcome, WouldBeLate)
        assert behind.is_right(range(MOST))
        assert left(batcher) == {"left_late": 1}
        assert batcher.executor.batches == [1, 1, MOST]


@virtual
async def test_a_deadline_that_passes_while_it_runs_is_deadline_exceeded():
    async with serving(noise=(1.0, 9.0)) as batcher:
        batcher.ask([0], timeout_s=1.0)
        await asyncio.sleep(1)
        entry = batcher.ask([1], timeout_s=0.050)
        await asyncio.sleep(1)
        assert isinstance(entry.outcome, DeadlineExceeded)
        assert left(batcher) == {"expired": 1}


@virtual
async def test_a_controller_that_learns_nothing_foretells_nothing():
    async with batching(Machine(), max_batch_rows=MOST) as batcher:
        entries = [batcher.ask([value], timeout_s=0.030) for value in range(4 * MOST)]
        await asyncio.sleep(1)
        outcomes = {type(entry.outcome) for entry in entries}
        assert outcomes == {dict, DeadlineExceeded}


@virtual
async def test_one_that_asks_for_the_impossible_is_tried_once_a_second_and_no_more():
    async with serving() as batcher:
        shed = 0
        for _ in range(30):
            try:
                batcher.ask([1], timeout_s=0.001)
            except WouldBeLate:
                shed += 1
            await asyncio.sleep(0.1)
        assert len(batcher.executor.batches) in (3, 4)
        assert shed == 30 - len(batcher.executor.batches)


@virtual
async def test_a_model_that_became_quicker_is_found_out():
    async with serving() as batcher:
        for _ in range(20):
            batcher.ask([1], timeout_s=1.0)
            await asyncio.sleep(0.1)
        batcher.executor.noise = (0.1,)
        taken = 0
        for _ in range(300):
            with contextlib.suppress(WouldBeLate):
                taken += batcher.ask([1], timeout_s=0.005) is not None
            await asyncio.sleep(0.1)
        assert taken > 100, "one a second until half of the remembered batches were quick, and then all"


@virtual
async def test_nobody_is_kept_waiting_for_company_until_it_is_late():
    async with serving() as batcher:
        plan = batcher.controller.plan
        batcher.controller._follower.plan = type(plan)(1, plan.sizes, enough_rows=MOST, gap_s=0.5)
        entry = batcher.ask([1], timeout_s=0.100)
        await asyncio.sleep(0.099)
        assert entry.is_right([1])
        reasons = batcher.counters.cells[cell.REASONS : cell.REASONS + len(cell.REASON_NAMES)].tolist()
        assert dict(zip(cell.REASON_NAMES, reasons, strict=True))["deadline"] == 1


# -- room --------------------------------------------------------------------------------------------------------------


@virtual
async def test_bytes_that_wait_are_bounded_and_count_what_waits():
    async with serving(max_queue_bytes=100) as batcher:
        batcher.ask([0])
        await turns()
        waiting = [batcher.ask(range(10)), batcher.ask(range(15))]
        assert batcher._queue.bytes == 100
        with pytest.raises(QueueFull, match=r"100 bytes wait and at most 100 may \(max_queue_bytes\)") as refusal:
            batcher.ask([1])
        assert 0 < refusal.value.retry_after_s <= cost_s(MOST) + 1e-9
        with pytest.raises(BadRequest, match="at most 100 bytes, the request has 104"):
            batcher.ask(range(26))
        batcher.cancel(waiting[1])
        assert batcher._queue.bytes == 40
        batcher.ask(range(15))
        await asyncio.sleep(1)
        assert waiting[0].is_right(range(10))
        assert batcher._queue.bytes == batcher.queue_rows == 0


@virtual
async def test_texts_count_with_their_length():
    async with serving(max_queue_bytes=100) as batcher:
        batcher.ask([0])
        await turns()
        for text, fits in (("a" * 60, True), ("b" * 41, False), ("c" * 40, True)):
            entry = Asked([1], asyncio.get_running_loop().time())
            entry.inputs = {"x": np.array([[text]], dtype=object)}
            if fits:
                batcher.submit(entry)
            else:
                with pytest.raises(QueueFull, match="60 bytes wait"):
                    batcher.submit(entry)
        for entry in list(batcher._queue.front(())):
            batcher.cancel(entry)
        assert batcher._queue.bytes == 0


# -- any traffic -------------------------------------------------------------------------------------------------------

NOISY = tuple(min(1.5, Random(1).lognormvariate(0, 0.1)) for _ in range(100))
SLACK_S = 1e-6


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.0, 0.001, 0.003, 0.02]),  # gap
            st.integers(1, 2 * MOST),  # rows
            st.sampled_from([0.0, 0.012, 0.030, 0.060, 0.200]),  # timeout
            st.booleans(),  # cancelled some time later
        ),
        min_size=1,
        max_size=120,
    ),
    st.integers(0, 99),
)
def test_everything_is_answered_once_and_nothing_is_a_success_after_its_deadline(requests, first_noise):
    async def run():
        loop = asyncio.get_running_loop()
        times = {}

        class Timed(Asked):
            __slots__ = ()

            def deliver(self, outcome):
                super().deliver(outcome)
                times[self] = loop.time()

        noise = NOISY[first_noise:] + NOISY[:first_noise]
        async with serving(noise=noise) as batcher:
            sent, refused = [], 0
            for gap, rows, timeout_s, leaves in requests:
                await asyncio.sleep(gap)
                entry = Timed(np.arange(rows), loop.time())
                try:
                    batcher.submit(entry, timeout_s)
                except WouldBeLate as refusal:
                    assert timeout_s
                    assert refusal.retry_after_s > 0
                    refused += 1
                    continue
                sent.append((entry, timeout_s, leaves))
                if leaves:
                    loop.call_later(0.02, batcher.cancel, entry)
            await asyncio.sleep(60)
            for entry, timeout_s, leaves in sent:
                assert len(entry.deliveries) == 1 or (leaves and not entry.deliveries)
                if entry.deliveries and isinstance(entry.outcome, dict):
                    assert entry.is_right(range(entry.rows))
                    assert not timeout_s or times[entry] <= entry.arrived + timeout_s + SLACK_S
                elif entry.deliveries:
                    assert timeout_s, "without a deadline nothing but an answer"
            assert batcher.queue_rows == batcher._queue.bytes == 0
            assert batcher.counters.cells[cell.SHED] == refused

    run_virtual(run())


@virtual
async def test_an_urgent_request_is_let_in_by_what_is_before_it_and_not_by_all_that_wait():
    async with serving() as batcher:
        now = asyncio.get_running_loop().time()
        many = [batcher.ask([value], timeout_s=10.0) for value in range(10 * MOST)]
        await turns()
        usual, urgent = Asked([1], now), Asked([2], now)
        urgent.rank -= 1.0
        with pytest.raises(WouldBeLate):
            batcher.submit(usual, 3 * cost_s(MOST))
        batcher.submit(urgent, 3 * cost_s(MOST))
        await asyncio.sleep(5)
        assert urgent.is_right([2])
        assert all(entry.is_right([value]) for value, entry in enumerate(many))
