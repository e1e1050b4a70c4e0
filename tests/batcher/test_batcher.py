import asyncio
import itertools

import pytest
from batcher_fakes import Asked, Batching, batching
from fakes import FakeExecutor, PuppetExecutor
from virtual_time import turns, virtual

from batcher.batcher import Batcher
from batcher.decide import Limits
from batcher.timer import Timer
from headrace import cell
from headrace.counters import QUEUE_AT, ModelCounters
from headrace.models import ModelId

# -- forming batches ---------------------------------------------------------------------------------------------------


@virtual
async def test_requests_of_one_turn_share_a_batch_and_get_their_own_rows():
    async with batching(FakeExecutor()) as batcher:
        entries = [batcher.ask([value, value + 0.5]) for value in range(3)]
        assert not batcher.executor.seen, "nothing runs before submit returns"
        await turns()
        assert batcher.executor.batches == [6]
        assert all(entry.is_right([value, value + 0.5]) for value, entry in enumerate(entries))


@virtual
async def test_what_arrives_while_a_batch_runs_forms_the_next_one():
    async with batching(PuppetExecutor()) as batcher:
        for value in range(5):
            batcher.ask([value])
            await turns()
        batcher.executor.finish(2)
        await turns()
        assert batcher.executor.batches == [1, 4]


@virtual
async def test_an_executor_that_runs_on_the_loop_lets_others_have_their_turn_between_batches():
    async with batching(FakeExecutor(), max_batch_rows=1) as batcher:
        for value in range(5):
            batcher.ask([value])
        batches = []
        for _ in range(7):
            await turns(1)
            batches.append(len(batcher.executor.seen))
        assert batches == [1, 2, 3, 4, 5, 5, 5], "one batch a turn"


@virtual
async def test_max_batch_rows_counts_rows_not_requests():
    async with batching(FakeExecutor(), max_batch_rows=4) as batcher:
        for _ in range(4):
            batcher.ask([1, 1, 1])
        await turns(30)
        assert batcher.executor.batches == [3, 3, 3, 3]


@virtual
async def test_requests_without_rows_are_answered():
    async with batching(FakeExecutor(), max_batch_rows=1) as batcher:
        empty, full, last = batcher.ask([]), batcher.ask([1]), batcher.ask([])
        await turns()
        assert empty.outcome["y"].shape == last.outcome["y"].shape == (0,)
        assert full.is_right([1])
        alone = batcher.ask([])
        await turns()
        assert alone.outcome["y"].shape == (0,)


@virtual
async def test_requests_of_other_shapes_never_share_a_batch_and_none_starves():
    async with batching(FakeExecutor(seconds=1), max_batch_rows=2) as batcher:
        many = [batcher.ask([1, 1], key="a") for _ in range(3)]
        await asyncio.sleep(0.5)
        other = batcher.ask([2], key="b")
        await asyncio.sleep(0.1)
        more = [batcher.ask([1, 1], key="a") for _ in range(5)]
        await asyncio.sleep(3.5)
        assert other.is_right([2]), "only those that were there before it come before it"
        assert [len(entry.deliveries) for entry in more] == [0] * 5
        await asyncio.sleep(10)
        assert batcher.executor.batches.count(1) == 1
        assert all(entry.is_right([1, 1]) for entry in many + more)


@virtual
async def test_a_full_group_need_not_wait_for_the_delay_of_one_in_front_of_it():
    async with batching(FakeExecutor(), max_batch_rows=2, delay_s=100) as batcher:
        early = batcher.ask([1], key="a")
        await turns()
        full = batcher.ask([2, 2], key="b")
        await turns()
        assert full.is_right([2, 2])
        assert early.deliveries == []


@virtual
async def test_slots_run_side_by_side_and_never_more_than_there_are():
    async with batching(FakeExecutor(slots=3, seconds=1), max_batch_rows=1) as batcher:
        entries = [batcher.ask([value]) for value in range(7)]
        await asyncio.sleep(3.5)
        assert batcher.executor.most_running == 3
        assert batcher.executor.starts == [0, 0, 0, 1, 1, 1, 2]
        assert all(entry.is_right([value]) for value, entry in enumerate(entries))


@virtual
async def test_an_unbatched_model_runs_requests_one_by_one_as_they_are():
    async with batching(FakeExecutor(), max_batch_rows=1, batched=False) as batcher:
        scalars = [batcher.ask(value) for value in (1, 2)]
        table = Asked([[1, 2], [3, 4]], asyncio.get_running_loop().time())
        table.rows = 1
        batcher.submit(table)
        given = [entry.inputs["x"] for entry in (*scalars, table)]
        await turns(20)
        assert all(x is mine for (_, x), mine in zip(batcher.executor.seen, given, strict=True))
        assert [float(entry.outcome["y"]) for entry in scalars] == [2, 4]
        assert table.is_right([[1, 2], [3, 4]])


def test_an_unbatched_model_has_batches_of_one_row():
    with pytest.raises(AssertionError):
        Batcher(ModelId("m", 1), FakeExecutor(), Timer(Limits(2)), 2, 10, ModelCounters(2), batched=False)


# -- the delay ---------------------------------------------------------------------------------------------------------


@virtual
async def test_a_delay_waits_for_company_until_the_oldest_has_waited_that_long():
    async with batching(FakeExecutor(), delay_s=0.010) as batcher:
        first = batcher.ask([1])
        await asyncio.sleep(0.006)
        second = batcher.ask([2])
        await asyncio.sleep(0.003)
        assert batcher.executor.seen == []
        await asyncio.sleep(1)
        assert batcher.executor.batches == [2]
        assert batcher.executor.starts == [0.010]
        assert first.is_right([1])
        assert second.is_right([2])


@virtual
async def test_a_delay_ends_with_the_row_that_fills_the_batch():
    async with batching(FakeExecutor(), max_batch_rows=3, delay_s=100) as batcher:
        batcher.ask([1, 2])
        await asyncio.sleep(5)
        batcher.ask([3])
        await turns()
        assert batcher.executor.batches == [3]


@virtual
async def test_a_delay_that_passed_while_all_slots_ran_is_not_waited_for_again():
    async with batching(FakeExecutor(seconds=1), delay_s=0.5) as batcher:
        batcher.ask([1])
        await asyncio.sleep(0.6)
        batcher.ask([2])
        await asyncio.sleep(5)
        assert batcher.executor.starts == [0.5, 1.5]


@virtual
async def test_what_is_left_and_full_does_not_wait_for_the_delay_either():
    async with batching(FakeExecutor(slots=2, seconds=100), max_batch_rows=2, delay_s=50) as batcher:
        batcher.ask([1])
        await asyncio.sleep(1)
        batcher.ask([2, 3])
        await asyncio.sleep(1)
        assert batcher.executor.seen[1:], "it fills a batch, and a slot is free"
        assert batcher.executor.starts == [1, 1]


@virtual
async def test_what_is_left_of_a_group_keeps_its_own_bound_though_its_slot_went_off_with_a_batch():
    async with batching(FakeExecutor(slots=2, seconds=100), delay_s=1) as batcher:
        for _ in range(2):
            batcher.ask([1] * 7)
        await asyncio.sleep(50)
        assert batcher.executor.starts == [0, 1]


@virtual
async def test_many_timers_that_pass_leave_nothing_behind():
    async with batching(FakeExecutor(slots=3), delay_s=0.01) as batcher:
        for _ in range(200):
            batcher.ask([1])
            await asyncio.sleep(0.02)
        assert len(batcher.executor.seen) == 200
        assert len(batcher._sleepers.asleep) <= 2 * 3


# -- what is counted, and the end --------------------------------------------------------------------------------------


@virtual
async def test_the_batch_table_counts_what_ran():
    async with batching(FakeExecutor(), max_batch_rows=4) as batcher:
        for _ in range(3):
            batcher.ask([1, 1])
        await turns(30)
        table = batcher.counters.batch_table()
        assert [(size, batches) for size, batches, *_ in table] == [(2, 1), (4, 1)]
        cells = batcher.counters.cells
        assert cells[cell.ROWS] == 6
        assert cells[cell.BATCHES] == 2
        (_, _, *short), (_, _, *long) = table
        assert [cells[cell.INPUT_NS], cells[cell.INFER_NS], cells[cell.OUTPUT_NS]] == [
            one + 2 * two for one, two in zip(short, long, strict=True)
        ], "sums over requests: one was in the short batch, two in the long one"


@virtual
async def test_queueing_counts_from_arrival_to_the_start_of_the_batch():
    async with batching(FakeExecutor(seconds=2), max_batch_rows=1) as batcher:
        batcher.ask([1])
        batcher.ask([2])
        assert batcher.queue_rows == 2
        await asyncio.sleep(1)
        assert batcher.queue_rows == 1
        await asyncio.sleep(10)
        assert batcher.counters.cells[cell.QUEUE_NS] == pytest.approx(2e9)
        waited = batcher.counters.histogram(QUEUE_AT)
        assert (waited[0], waited[14], sum(waited)) == (1, 1, 2), "one at once, one 1 to 2.5 seconds"
        assert batcher.queue_rows == 0


@virtual
async def test_closing_stops_every_loop():
    batcher = Batching(PuppetExecutor(slots=3))
    batcher.start()
    entry = batcher.ask([1])
    await turns()
    batcher.cancel(entry)
    await batcher.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert entry.deliveries == []


class Heard(Timer):
    """A timer that remembers the seconds that it was told of each batch."""

    def __init__(self):
        super().__init__(Limits(1), 1)
        self.seconds = []

    def finished(self, now, rows, seconds, running, clients, key=()):
        self.seconds.append(seconds)


@pytest.mark.parametrize("together", [True, False])
def test_the_turns_of_the_loop_between_two_batches_count_as_the_later_ones_time(together):
    """Every look at this clock is a second later, as if the loop had been busy meanwhile."""
    controller, looks = Heard(), itertools.count()

    async def scenario():
        batcher = Batcher(
            ModelId("m", 1), FakeExecutor(), controller, 1, 100, ModelCounters(1), clock=lambda: float(next(looks))
        )
        batcher.start()
        for value in range(3):
            batcher.submit(Asked([value]))
            if not together:
                await turns()
        await turns()
        await batcher.close()

    asyncio.run(scenario())
    first, *later = controller.seconds
    assert len(later) == 2
    assert all((seconds > first) is together for seconds in later)
