import asyncio
import contextlib

import numpy as np
import pytest
from fakes import POISON, BrokenExecutor, FakeExecutor, PuppetExecutor, ShortExecutor
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_time import run_virtual

from batcher.batcher import Batcher
from batcher.decide import Limits
from batcher.entry import Entry
from headrace.counters import Cell, ModelCounters
from headrace.errors import BadRequest, DeadlineExceeded, ExecutorFailed, QueueFull, ServingError
from headrace.models import ModelId


class Asked(Entry):
    """An entry that remembers what it was told."""

    __slots__ = ("deliveries",)

    def __init__(self, values, arrived, key=()):
        x = np.asarray(values, np.float32)
        super().__init__({"x": x}, len(x), key, arrived)
        self.deliveries = []

    def deliver(self, outcome):
        self.deliveries.append(outcome)

    @property
    def outcome(self):
        assert len(self.deliveries) == 1, f"delivered {len(self.deliveries)} times"
        return self.deliveries[0]

    def is_right(self, values):
        return np.array_equal(self.outcome["y"], 2 * np.asarray(values, np.float32))


@contextlib.asynccontextmanager
async def batching(executor, max_batch_rows=8, delay_s=0.0, max_queue_rows=1000, batched=True):
    loop = asyncio.get_running_loop()
    counters = ModelCounters(max_batch_rows)
    limits = Limits(max_batch_rows, delay_s)
    batcher = Batcher(ModelId("m", 1), executor, limits, max_queue_rows, counters, batched=batched, clock=loop.time)
    batcher.counters = counters
    batcher.start()
    yield batcher
    await batcher.close()


def ask(batcher, values, timeout_s=0.0, key=()):
    entry = Asked(values, asyncio.get_running_loop().time(), key)
    batcher.submit(entry, timeout_s)
    return entry


async def turns(count=10):
    for _ in range(count):
        await asyncio.sleep(0)


def test_requests_of_one_turn_share_a_batch_and_get_their_own_rows():
    async def scenario():
        executor = FakeExecutor()
        async with batching(executor) as batcher:
            entries = [ask(batcher, [value, value + 0.5]) for value in range(3)]
            await turns()
        assert executor.batches == [6]
        assert all(entry.is_right([value, value + 0.5]) for value, entry in enumerate(entries))

    run_virtual(scenario())


def test_max_batch_rows_counts_rows_not_requests():
    async def scenario():
        executor = FakeExecutor()
        async with batching(executor, max_batch_rows=4) as batcher:
            for _ in range(4):
                ask(batcher, [1, 1, 1])
            await turns(30)
        assert executor.batches == [3, 3, 3, 3]

    run_virtual(scenario())


def test_a_cancelled_request_of_a_running_batch_leaves_its_mates_alone():
    async def scenario():
        executor = PuppetExecutor()
        async with batching(executor) as batcher:
            one, two, three = (ask(batcher, [value]) for value in (1, 2, 3))
            await turns()
            batcher.cancel(two)
            executor.go.release()
            await turns()
        assert one.is_right([1])
        assert two.deliveries == []
        assert three.is_right([3])

    run_virtual(scenario())


def test_a_request_cancelled_while_it_waits_never_runs_and_frees_its_rows():
    async def scenario():
        executor = PuppetExecutor()
        async with batching(executor, max_queue_rows=2) as batcher:
            ask(batcher, [0])
            await turns()
            waiting = ask(batcher, [1, 1])
            with pytest.raises(QueueFull):
                ask(batcher, [2])
            batcher.cancel(waiting)
            last = ask(batcher, [3, 3])
            executor.go.release()
            executor.go.release()
            await turns(30)
            assert batcher.counters.cells[Cell.QUEUE_ROWS] == 0
        assert executor.batches == [1, 2]
        assert last.is_right([3, 3])
        assert waiting.deliveries == []

    run_virtual(scenario())


def test_a_delay_waits_for_company_but_not_longer_than_allowed():
    async def scenario():
        loop = asyncio.get_running_loop()
        executor = FakeExecutor()
        async with batching(executor, delay_s=0.010) as batcher:
            first = ask(batcher, [1])
            await asyncio.sleep(0.006)
            second = ask(batcher, [2])
            assert executor.batches == []
            await asyncio.sleep(0.005)
            assert executor.batches == [2]
            assert first.is_right([1])
            assert second.is_right([2])
            assert loop.time() < 0.012

    run_virtual(scenario())


def test_a_full_batch_does_not_wait():
    async def scenario():
        executor = FakeExecutor()
        async with batching(executor, max_batch_rows=2, delay_s=100) as batcher:
            entry = ask(batcher, [1, 2])
            await turns()
            assert entry.is_right([1, 2])

    run_virtual(scenario())


def test_requests_of_other_shapes_never_share_a_batch_and_none_starves():
    async def scenario():
        executor = FakeExecutor(seconds=1)
        async with batching(executor, max_batch_rows=2) as batcher:
            many = [ask(batcher, [1, 1], key="a") for _ in range(5)]
            other = ask(batcher, [2], key="b")
            await asyncio.sleep(3.5)
            assert other.deliveries, "five batches of another shape must not come before it"
            await asyncio.sleep(10)
        assert executor.batches.count(1) == 1
        assert all(entry.is_right([1, 1]) for entry in many)

    run_virtual(scenario())


def test_no_more_batches_run_at_once_than_there_are_slots():
    async def scenario():
        executor = FakeExecutor(slots=3, seconds=1)
        async with batching(executor, max_batch_rows=1) as batcher:
            entries = [ask(batcher, [value]) for value in range(7)]
            await asyncio.sleep(3.5)
        assert executor.most_running == 3
        assert all(entry.is_right([value]) for value, entry in enumerate(entries))

    run_virtual(scenario())


def test_a_large_request_is_cut_and_comes_back_whole():
    async def scenario():
        executor = FakeExecutor()
        async with batching(executor, max_batch_rows=4) as batcher:
            entry = ask(batcher, range(10))
            await turns(30)
        assert executor.batches == [4, 4, 2]
        assert entry.is_right(range(10))

    run_virtual(scenario())


def test_a_large_request_that_fails_hears_of_it_once():
    async def scenario():
        async with batching(FakeExecutor(), max_batch_rows=2) as batcher:
            entry = ask(batcher, [POISON, 1, 2, 3, POISON])
            await turns(40)
            assert batcher.counters.cells[Cell.QUEUE_ROWS] == 0
        assert isinstance(entry.outcome, ExecutorFailed)

    run_virtual(scenario())


def test_a_request_that_can_never_fit_the_queue_is_the_clients_mistake():
    async def scenario():
        async with batching(FakeExecutor(), max_queue_rows=3) as batcher:
            with pytest.raises(BadRequest, match="at most 3 rows, the request has 4"):
                ask(batcher, [1, 2, 3, 4])

    run_virtual(scenario())


@pytest.mark.parametrize("values", [[1], list(range(20))])
def test_a_request_whose_timeout_passes_is_told_once(values):
    async def scenario():
        executor = FakeExecutor(seconds=10)
        async with batching(executor) as batcher:
            entry = ask(batcher, values, timeout_s=0.5)
            await asyncio.sleep(1)
            assert isinstance(entry.outcome, DeadlineExceeded)
            await asyncio.sleep(100)
            assert len(entry.deliveries) == 1

    run_virtual(scenario())


def test_only_those_that_fail_alone_see_the_error():
    async def scenario():
        executor = FakeExecutor()
        async with batching(executor) as batcher:
            entries = [ask(batcher, [value]) for value in (1, 2, POISON, 4, 5, 6, 7, 8)]
            await turns(60)
        for value, entry in zip((1, 2, POISON, 4, 5, 6, 7, 8), entries, strict=True):
            if value == POISON:
                assert isinstance(entry.outcome, ExecutorFailed)
            else:
                assert entry.is_right([value])
        assert len(executor.batches) == 7, "8, 4 4, 2 2, 1 1: halves, not one by one"

    run_virtual(scenario())


def test_a_wrong_row_count_fails_every_request_and_the_loop_lives():
    async def scenario():
        async with batching(ShortExecutor()) as batcher:
            entries = [ask(batcher, [value]) for value in range(3)]
            await turns(40)
            assert all(isinstance(entry.outcome, ExecutorFailed) for entry in entries)
            again = ask(batcher, [1])
            await turns(20)
            assert isinstance(again.outcome, ExecutorFailed)

    run_virtual(scenario())


def test_a_bug_in_the_executor_is_logged_and_the_loop_lives(caplog):
    async def scenario():
        async with batching(BrokenExecutor(times=1)) as batcher:
            entry = ask(batcher, [1])
            await turns()
            assert isinstance(entry.outcome, ExecutorFailed)
            again = ask(batcher, [2])
            await turns()
            assert again.is_right([2])

    run_virtual(scenario())
    assert "ZeroDivisionError" in caplog.text


def test_a_receiver_that_raises_does_not_hurt_its_mates(caplog):
    class Rude(Asked):
        def deliver(self, outcome):
            raise RuntimeError("rude")

    async def scenario():
        async with batching(FakeExecutor()) as batcher:
            batcher.submit(Rude([1], 0.0))
            mate = ask(batcher, [2])
            await turns()
            assert mate.is_right([2])

    run_virtual(scenario())
    assert "could not be delivered" in caplog.text


def test_requests_without_rows_are_answered():
    async def scenario():
        async with batching(FakeExecutor()) as batcher:
            empty, full = ask(batcher, []), ask(batcher, [1])
            await turns()
            assert empty.outcome["y"].shape == (0,)
            assert full.is_right([1])

    run_virtual(scenario())


def test_an_unbatched_model_runs_requests_one_by_one_as_they_are():
    async def scenario():
        executor = FakeExecutor()
        async with batching(executor, max_batch_rows=1, batched=False) as batcher:
            entries = []
            for value in (1.0, 2.0):
                entry = Asked([value], 0.0)
                entry.inputs, entry.rows = {"x": np.float32(value)}, 1
                batcher.submit(entry)
                entries.append(entry)
            await turns(20)
        assert executor.batches == [1, 1]
        assert [float(entry.outcome["y"]) for entry in entries] == [2.0, 4.0]

    run_virtual(scenario())


def test_the_batch_table_counts_what_ran():
    async def scenario():
        async with batching(FakeExecutor(), max_batch_rows=4) as batcher:
            for _ in range(3):
                ask(batcher, [1, 1])
            await turns(30)
            table = batcher.counters.batch_table()
            assert [(size, batches) for size, batches, *_ in table] == [(2, 1), (4, 1)]
            assert batcher.counters.cells[Cell.ROWS] == 6
            assert batcher.counters.cells[Cell.BATCHES] == 2

    run_virtual(scenario())


EVENTS = st.lists(
    st.tuples(
        st.floats(0, 0.02),  # pause before it
        st.integers(0, 9),  # rows
        st.sampled_from("ab"),  # key
        st.booleans(),  # poison
        st.sampled_from([0.0, 0.0, 0.005, 0.1]),  # timeout
        st.sampled_from([None, None, 0.0, 0.003, 0.03]),  # cancelled after
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(EVENTS, st.integers(1, 3), st.integers(1, 6), st.sampled_from([0.0, 0.004]), st.sampled_from([0.0, 0.01]))
def test_every_request_is_answered_once_with_its_own_rows_or_cancelled(events, slots, most, delay_s, seconds):
    async def scenario():
        loop = asyncio.get_running_loop()
        executor = FakeExecutor(slots, seconds)
        asked = []
        async with batching(executor, max_batch_rows=most, delay_s=delay_s) as batcher:
            for number, (pause, rows, key, poison, timeout_s, cancel_after) in enumerate(events):
                await asyncio.sleep(pause)
                values = [POISON if poison else 100 * number + row for row in range(rows)]
                entry = ask(batcher, values, timeout_s, key)
                asked.append((entry, values, timeout_s, cancel_after, poison and rows))
                if cancel_after is not None:
                    loop.call_later(cancel_after, batcher.cancel, entry)
            await asyncio.sleep(10)
            assert batcher.counters.cells[Cell.QUEUE_ROWS] == 0
        assert all(rows <= most for rows in executor.batches)
        assert executor.most_running <= slots
        for entry, values, timeout_s, cancel_after, fails in asked:
            if not entry.deliveries:
                assert cancel_after is not None
            elif isinstance(entry.outcome, ServingError):
                assert fails or (timeout_s and isinstance(entry.outcome, DeadlineExceeded))
            else:
                assert entry.is_right(values)

    run_virtual(scenario())
