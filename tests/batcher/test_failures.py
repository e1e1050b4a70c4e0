import asyncio
import gc
import weakref

import numpy as np
import pytest
from batcher_fakes import Asked, batching
from fakes import POISON, BrokenExecutor, FakeExecutor, PuppetExecutor, WrongRowsExecutor
from virtual_time import turns, virtual

from headrace import cell
from headrace.errors import BadRequest, DeadlineExceeded, ExecutorFailed, QueueFull


@pytest.mark.parametrize("error", [BadRequest("not so"), ExecutorFailed("poison")])
@virtual
async def test_only_those_that_fail_alone_see_the_error(error):
    values = (1, 2, POISON, 4, 5, 6, 7, 8)
    async with batching(FakeExecutor(error=error)) as batcher:
        entries = [batcher.ask([value]) for value in values]
        await turns(60)
        for value, entry in zip(values, entries, strict=True):
            if value == POISON:
                assert entry.outcome is error
            else:
                assert entry.is_right([value])
        assert batcher.executor.batches == [8, 4, 2, 2, 1, 1, 4], "halves, not one by one"
        assert batcher.counters.cells[cell.BATCHES] == 3, "runs that failed are no batches"


@virtual
async def test_a_broken_model_soon_costs_a_run_for_each_request_and_one_for_the_batch():
    async with batching(FakeExecutor(), max_batch_rows=64) as batcher:
        runs = []
        for _ in range(3):
            entries = [batcher.ask([POISON]) for _ in range(64)]
            await turns(400)
            assert all(isinstance(entry.outcome, ExecutorFailed) for entry in entries)
            runs.append(len(batcher.executor.seen))
            batcher.executor.seen.clear()
        assert runs[0] <= 1 + 64 + 3 * 6
        assert runs[1:] == [65, 65]


@virtual
async def test_what_waits_behind_a_failed_batch_stays_behind_it_and_does_not_join_it():
    async with batching(PuppetExecutor(), max_batch_rows=4) as batcher:
        first = [batcher.ask([value]) for value in (1, POISON)]
        await turns()
        later = batcher.ask([3])
        batcher.executor.finish(9)
        await turns(30)
        assert [x.tolist() for _, x in batcher.executor.seen] == [[1, POISON], [1], [POISON], [3]]
        assert first[0].is_right([1])
        assert later.is_right([3])


@virtual
async def test_parts_of_a_failed_batch_need_not_wait_for_company_again():
    async with batching(FakeExecutor(), max_batch_rows=2, delay_s=100) as batcher:
        innocent, _ = batcher.ask([1]), batcher.ask([POISON])
        await turns(20)
        assert innocent.is_right([1])


@virtual
async def test_other_shapes_have_their_turn_between_the_parts_of_a_failed_batch():
    async with batching(FakeExecutor(seconds=1), max_batch_rows=8) as batcher:
        sick = [batcher.ask([POISON], key="sick") for _ in range(8)]
        await asyncio.sleep(0.5)
        well = [batcher.ask([1, 2, 3, 4, 5, 6, 7], key="well") for _ in range(3)]
        await asyncio.sleep(6.6)
        assert all(entry.is_right([1, 2, 3, 4, 5, 6, 7]) for entry in well), "every second run is theirs"
        assert sum(not entry.deliveries for entry in sick) >= 6
        await asyncio.sleep(30)
        assert all(isinstance(entry.outcome, ExecutorFailed) for entry in sick)


@virtual
async def test_free_slots_help_with_the_parts_of_a_failed_batch():
    async with batching(FakeExecutor(slots=4, seconds=1), max_batch_rows=4) as batcher:
        entries = [batcher.ask([value]) for value in (1, 2, POISON, 4)]
        await asyncio.sleep(3.5)
        assert batcher.executor.starts == [0, 1, 1, 2, 2]
        assert [entry.deliveries != [] for entry in entries] == [True] * 4


@virtual
async def test_what_runs_again_has_its_place_in_the_queue_again():
    async with batching(PuppetExecutor(), max_queue_rows=6) as batcher:
        entries = [batcher.ask([value, value]) for value in (1, POISON, 3)]
        await turns()
        assert batcher.queue_rows == 0
        batcher.executor.finish()
        await turns()
        assert batcher.executor.batches == [6, 4]
        assert batcher.queue_rows == 2
        with pytest.raises(QueueFull, match="2 rows wait and at most 6 may"):
            batcher.ask([5] * 5)
        batcher.cancel(entries[2])
        assert batcher.queue_rows == 0
        batcher.executor.finish(9)
        await turns(20)
        assert batcher.executor.batches == [6, 4, 2, 2]
        assert entries[0].is_right([1, 1])


@virtual
async def test_who_runs_out_of_time_between_two_runs_is_told_so_and_not_run_again():
    async with batching(FakeExecutor(seconds=1)) as batcher:
        poison, late = batcher.ask([POISON]), batcher.ask([2], timeout_s=1.5)
        await asyncio.sleep(10)
        assert isinstance(late.outcome, DeadlineExceeded)
        assert isinstance(poison.outcome, ExecutorFailed)
        assert batcher.executor.batches == [2, 1]


@virtual
async def test_nan_is_the_answer_of_the_request_that_caused_it_and_of_no_other():
    async with batching(FakeExecutor()) as batcher:
        entries = [batcher.ask([value]) for value in (1, np.nan, np.inf, 4)]
        await turns()
        assert batcher.executor.batches == [4], "not a failure"
        assert [float(entry.outcome["y"][0]) for entry in entries[::3]] == [2, 8]
        assert np.isnan(entries[1].outcome["y"]).all()
        assert np.isinf(entries[2].outcome["y"]).all()


@virtual
async def test_who_gave_up_meanwhile_is_not_run_again():
    async with batching(PuppetExecutor()) as batcher:
        innocent, poison = batcher.ask([1]), batcher.ask([POISON])
        await turns()
        batcher.cancel(poison)
        batcher.executor.finish(9)
        await turns(20)
        assert batcher.executor.batches == [2, 1]
        assert innocent.is_right([1]), "it had not failed alone"
        assert poison.deliveries == []


@virtual
async def test_who_gives_up_while_the_first_half_runs_again_is_not_run_in_the_second():
    async with batching(PuppetExecutor()) as batcher:
        first, second = batcher.ask([POISON]), batcher.ask([2])
        await turns()
        batcher.executor.finish()
        await turns()
        batcher.cancel(second)
        batcher.executor.finish(9)
        await turns(20)
        assert batcher.executor.batches == [2, 1]
        assert isinstance(first.outcome, ExecutorFailed)


@pytest.mark.parametrize("surplus", [-1, 1])
@virtual
async def test_a_wrong_row_count_fails_every_request_and_the_loop_lives(surplus):
    async with batching(WrongRowsExecutor(surplus)) as batcher:
        entries = [batcher.ask([value]) for value in range(3)]
        await turns(40)
        for entry in entries:
            assert isinstance(entry.outcome, ExecutorFailed)
            assert "a batch of 1 rows" in str(entry.outcome)
        batcher.executor.surplus = 0
        again = batcher.ask([1])
        await turns(20)
        assert again.is_right([1])


@virtual
async def test_a_bug_in_the_executor_is_logged_once_and_the_loop_lives(caplog):
    async with batching(BrokenExecutor(times=1)) as batcher:
        entry = batcher.ask([1])
        await turns()
        assert isinstance(entry.outcome, ExecutorFailed)
        assert str(entry.outcome) == "model 'm' failed: ZeroDivisionError: a bug"
        again = batcher.ask([2])
        await turns()
        assert again.is_right([2])
    assert caplog.text.count("a batch failed in an unforeseen way") == 1
    assert caplog.text.count("Traceback") == 1


@virtual
async def test_the_log_of_a_bug_does_not_repeat_that_of_the_runs_before(caplog):
    async with batching(BrokenExecutor(times=100)) as batcher:
        for _ in range(4):
            batcher.ask([1])
        await turns(40)
    assert caplog.text.count("Traceback") == 4


@virtual
async def test_a_bug_that_hits_once_costs_a_run_and_no_answer():
    async with batching(BrokenExecutor(times=1)) as batcher:
        entries = [batcher.ask([value]) for value in range(4)]
        await turns(20)
        assert all(entry.is_right([value]) for value, entry in enumerate(entries))


class Unheard(BaseException):
    pass


@pytest.mark.parametrize("bug", [asyncio.CancelledError(), SystemExit(3), StopIteration(), Unheard("of")], ids=repr)
@virtual
async def test_an_executor_that_gives_up_a_run_does_not_stop_the_slot(bug):
    async with batching(BrokenExecutor(times=1, bug=bug)) as batcher:
        entry = batcher.ask([1])
        await turns()
        assert isinstance(entry.outcome, ExecutorFailed)
        again = batcher.ask([2])
        await turns()
        assert again.is_right([2])


@virtual
async def test_inputs_that_do_not_fit_together_despite_their_key_run_alone():
    async with batching(FakeExecutor()) as batcher:
        narrow, wide = batcher.ask([1]), batcher.ask([[1, 2]])
        await turns(20)
        assert narrow.is_right([1])
        assert wide.is_right([[1, 2]])


@virtual
async def test_a_receiver_that_raises_does_not_hurt_its_mates(caplog):
    class Rude(Asked):
        def deliver(self, outcome):
            raise RuntimeError("rude")

    async with batching(FakeExecutor()) as batcher:
        before = batcher.ask([1])
        batcher.submit(Rude([2]))
        after = batcher.ask([3])
        await turns()
        assert before.is_right([1])
        assert after.is_right([3])
    assert "an answer could not be delivered" in caplog.text


@virtual
async def test_a_receiver_may_cancel_its_mate_or_ask_again():
    class Meddler(Asked):
        def deliver(self, outcome):
            super().deliver(outcome)
            batcher.cancel(mate)
            again.append(batcher.ask([9]))

    again = []
    async with batching(FakeExecutor()) as batcher:
        meddler = Meddler([1])
        batcher.submit(meddler)
        mate = batcher.ask([2])
        await turns()
        assert meddler.is_right([1])
        assert mate.deliveries == []
        assert again[0].is_right([9])


@pytest.mark.parametrize("value", [1.0, POISON])
@virtual
async def test_an_idle_slot_holds_no_tensor_of_its_last_batch(value):
    class Array(np.ndarray):
        """One that can be referred to weakly."""

    class Deaf(Asked):
        def deliver(self, outcome):
            pass

    async with batching(FakeExecutor()) as batcher:
        tensors = []
        gc.disable()
        try:
            for _ in range(2):
                entry = Deaf([value])
                entry.inputs = {"x": np.full(1, value).view(Array)}
                tensors.append(weakref.ref(entry.inputs["x"]))
                batcher.submit(entry)
            del entry
            await turns(20)
            batcher.executor.seen.clear()
            batcher.executor.error = None  # its traceback is this test's to hold
            assert [tensor() for tensor in tensors] == [None, None]
        finally:
            gc.enable()
