"""Runs in an engine: answered once, from memory that comes back, and not lost when the engine dies."""

import asyncio

import pytest
from engine_fakes import ID, Asked, paired, until

from batcher.account import Account
from batcher.batcher import Batcher
from executor.link.arena import Arena
from headrace import errors
from headrace.errors import (
    BadRequest,
    DeadlineExceeded,
    ExecutorFailed,
    LoadFailed,
    ModelNotReady,
    QueueFull,
    WouldBeLate,
)
from headrace.models import ModelId
from server.engine import client, guest, words

OTHER = ModelId("other", 1)


def answered(*asked):
    return all(isinstance(each.outcome, dict) and each.outcome["x_out"].tolist() == rows_of(each) for each in asked)


def rows_of(asked):
    return asked.inputs["x"].tolist()


async def all_memory_is_back(*engines):
    for engine in engines:
        await until(lambda engine=engine: not engine._runs._allocator.used)


def test_requests_of_all_replicas_share_a_batch_and_each_gets_its_own_answer(tmp_path):
    async def scenario(pair):
        one, two = await pair.replica(), await pair.replica()
        mine, theirs = await pair.version(one), await pair.version(two)
        (executor,) = pair.executors
        executor.gate.clear()
        first, *rest = asked = [Asked(value) for value in range(5)]
        mine.batcher.submit(first)
        await executor.entered.wait()
        for core, each in zip((mine, theirs, mine, theirs), rest, strict=True):
            core.batcher.submit(each)
        await asyncio.sleep(0.01)
        executor.gate.set()
        await until(lambda: answered(*asked))
        assert executor.runs == 2
        for each in asked:
            each.outcome = None
        await all_memory_is_back(one, two)

    paired(tmp_path, scenario)


def test_a_version_is_loaded_once_for_all_and_unloaded_when_the_last_replica_leaves_it(tmp_path):
    async def scenario(pair):
        one, two = await pair.replica(), await pair.replica()
        mine, theirs = await asyncio.gather(pair.version(one), pair.version(two))
        (executor,) = pair.executors
        await mine.batcher.close()
        again = Asked(1.0)
        theirs.batcher.submit(again)
        await until(lambda: answered(again))
        assert not executor.closed
        await theirs.batcher.close()
        await until(lambda: executor.closed)

    paired(tmp_path, scenario)


def test_a_replica_that_ends_leaves_its_versions_and_takes_its_requests_along(tmp_path):
    async def scenario(pair):
        one, two = await pair.replica(), await pair.replica()
        mine, theirs = await pair.version(one), await pair.version(two)
        (executor,) = pair.executors
        executor.gate.clear()
        running, waiting, other = Asked(1.0), Asked(2.0), Asked(3.0)
        mine.batcher.submit(running)
        await executor.entered.wait()
        mine.batcher.submit(waiting)
        await asyncio.sleep(0.01)
        one._wire.close()
        await asyncio.sleep(0.01)
        theirs.batcher.submit(other)
        await asyncio.sleep(0.01)
        executor.gate.set()
        await until(lambda: answered(other))
        assert executor.runs == 2
        assert not executor.closed
        await theirs.batcher.close()
        await until(lambda: executor.closed)

    paired(tmp_path, scenario)


def test_a_load_that_fails_says_why_and_may_be_tried_again(tmp_path):
    async def scenario(pair):
        replica = await pair.replica()
        pair.broken.add(ID)
        with pytest.raises(LoadFailed, match="echo/1 is broken"):
            await pair.version(replica)
        pair.broken.clear()
        core = await pair.version(replica)
        asked = Asked(1.0)
        core.batcher.submit(asked)
        await until(lambda: answered(asked))

    paired(tmp_path, scenario)


REFUSALS = [
    BadRequest("not so"),
    ExecutorFailed("broke"),
    QueueFull("full", 0.25),
    WouldBeLate("late", 2.0),
    DeadlineExceeded("over"),
    ModelNotReady("gone"),
    errors.OutOfMemory("too large"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.slug)
def test_an_error_comes_back_as_what_it_was(refusal):
    back = words.error(words.to_replica(words.encode(words.failure(7, refusal))))
    assert type(back) is type(refusal)
    assert str(back) == str(refusal)
    assert getattr(back, "retry_after_s", None) == getattr(refusal, "retry_after_s", None)


def test_the_engines_bounds_are_those_of_its_batcher(tmp_path):
    async def scenario(pair):
        replica = await pair.replica()
        core = await pair.version(replica)
        (executor,) = pair.executors
        executor.gate.clear()
        fits, too_much = [Asked(rows=8) for _ in range(2)], Asked(rows=1)
        for each in (*fits, too_much):
            core.batcher.submit(each)
        await until(lambda: too_much.outcome is not None)
        assert isinstance(too_much.outcome, QueueFull)
        executor.gate.set()
        await until(lambda: answered(*fits))

    paired(tmp_path, scenario)


def test_what_does_not_fit_the_shared_memory_is_refused_before_it_is_sent(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "ARENA_BYTES", 4096)

    async def scenario(pair):
        replica = await pair.replica()
        core = await pair.version(replica)
        (executor,) = pair.executors
        executor.gate.clear()
        fits, next_to_it, never = Asked(rows=300), Asked(rows=300), Asked(rows=600)
        core.batcher.submit(fits)
        with pytest.raises(QueueFull, match="the memory shared with its engine is full"):
            core.batcher.submit(next_to_it)
        with pytest.raises(BadRequest, match="at most 4096 bytes, the request has 4800"):
            core.batcher.submit(never)
        executor.gate.set()
        await until(lambda: fits.outcome is not None)

    paired(tmp_path, scenario)


def test_answers_for_which_there_is_no_room_wait_until_somebody_has_read_others(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "ARENA_BYTES", 4096)
    monkeypatch.setattr(guest, "FEW_BYTES", 0)

    async def scenario(pair):
        replica = await pair.replica()
        core = await pair.version(replica)
        asked = [Asked(value, rows=8) for value in range(40)]
        for each in asked:
            core.batcher.submit(each)
            await asyncio.sleep(0.005)
        there = [each for each in asked if each.outcome is not None]
        assert 0 < len(there) < len(asked)
        for each in asked:
            await until(lambda each=each: answered(each))
            each.outcome = None  # it has read it

    paired(tmp_path, scenario)


def test_who_cancels_frees_a_place_and_its_memory(tmp_path):
    async def scenario(pair):
        replica = await pair.replica()
        core = await pair.version(replica)
        (executor,) = pair.executors
        executor.gate.clear()
        running, waiting, other = Asked(1.0), Asked(2.0), Asked(3.0)
        core.batcher.submit(running)
        await executor.entered.wait()
        core.batcher.submit(waiting)
        core.batcher.submit(other)
        for each in (running, waiting):
            core.batcher.cancel(each)
            core.batcher.cancel(each)
        await asyncio.sleep(0.01)
        executor.gate.set()
        await until(lambda: answered(other))
        assert executor.runs == 2
        assert running.outcome is waiting.outcome is None
        other.outcome = None
        await all_memory_is_back(replica)

    paired(tmp_path, scenario)


def test_who_wants_to_know_hears_where_the_time_went(tmp_path):
    async def scenario(pair):
        core = await pair.version(await pair.replica())
        asked = Asked(1.0)
        account = Account()
        core.batcher.submit(asked, account=account)
        await until(lambda: answered(asked))
        assert account.reason == "at_once"
        assert account.requests == account.batches == 1
        assert asked.arrived <= account.began <= account.assembled <= account.ran <= account.split
        assert not pair.batchers[0].accounts.entries

    paired(tmp_path, scenario)


def test_what_the_batcher_has_learnt_can_be_asked_for(tmp_path):
    async def scenario(pair):
        core = await pair.version(await pair.replica())
        document = await core.describe(False)
        assert document["engine"] == "an engine"
        assert document["controller"] == "timer"

    paired(tmp_path, scenario)


def test_a_batcher_that_cannot_be_described_says_so_and_serves_on(tmp_path, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("no words")

    monkeypatch.setattr(Batcher, "describe", broken)

    async def scenario(pair):
        core = await pair.version(await pair.replica())
        assert (await core.describe(False))["error"] == "RuntimeError: no words"
        asked = Asked(1.0)
        core.batcher.submit(asked)
        await until(lambda: answered(asked))

    paired(tmp_path, scenario)


def test_a_warm_up_runs_by_itself(tmp_path):
    async def scenario(pair):
        core = await pair.version(await pair.replica())
        (executor,) = pair.executors
        inputs = Asked(2.0).inputs
        assert (await core.executor.run(inputs))["x_out"].tolist() == inputs["x"].tolist()
        executor.outcome = ExecutorFailed("broke")
        with pytest.raises(ExecutorFailed, match="broke"):
            await core.executor.run(inputs)

    paired(tmp_path, scenario)


# -- the engine dies ------------------------------------------------------------------------------------------------


async def again(pair, *engines):
    await pair.die()
    for engine in engines:
        await until(lambda engine=engine: engine._wire is None)
    await pair.start()
    for engine in engines:
        await engine.up()


def test_what_waited_or_ran_when_the_engine_died_is_answered_by_the_next_one(tmp_path):
    async def scenario(pair):
        one, two = await pair.replica(), await pair.replica()
        mine, theirs = await pair.version(one), await pair.version(two, OTHER)
        pair.executors[0].gate.clear()
        running, waiting, other = Asked(1.0), Asked(2.0), Asked(3.0)
        mine.batcher.submit(running)
        await pair.executors[0].entered.wait()
        mine.batcher.submit(waiting)
        await asyncio.sleep(0.01)
        await again(pair, one, two)
        theirs.batcher.submit(other)
        await until(lambda: answered(running, waiting, other))
        assert pair.needed == ["an engine"] * 2
        for each in (running, waiting, other):
            each.outcome = None
        await all_memory_is_back(one, two)

    paired(tmp_path, scenario)


def test_of_a_batch_that_killed_the_engine_each_runs_alone_and_only_the_one_that_does_it_again_is_refused(tmp_path):
    async def scenario(pair):
        replica = await pair.replica()
        core = await pair.version(replica)
        pair.deadly = 666.0
        poison, mate, account = Asked(666.0), Asked(2.0), Account()
        core.batcher.submit(poison)
        core.batcher.submit(mate, account=account)
        await pair.dying.wait()  # of both together
        pair.dying.clear()
        await again(pair, replica)
        await pair.dying.wait()  # of one alone
        innocent = Asked(3.0)
        core.batcher.submit(innocent)
        await asyncio.sleep(0.01)
        assert innocent.outcome is None, "nothing runs beside a suspect"
        await again(pair, replica)
        await until(lambda: answered(mate, innocent))
        assert isinstance(poison.outcome, ExecutorFailed)
        assert "two engines have died while they ran it" in str(poison.outcome)
        assert account.requests == account.rows == account.batches == 1
        assert mate.arrived <= account.began <= account.ran

    paired(tmp_path, scenario)


def test_nobody_waits_for_an_engine_longer_than_its_timeout(tmp_path):
    async def scenario(pair):
        replica = await pair.replica()
        core = await pair.version(replica)
        (executor,) = pair.executors
        executor.gate.clear()
        running, late = Asked(1.0), Asked(2.0)
        core.batcher.submit(running, 0.05)
        await executor.entered.wait()
        await pair.die()
        await until(lambda: replica._wire is None)
        core.batcher.submit(late, 0.05)
        await until(lambda: running.outcome is not None and late.outcome is not None)
        assert isinstance(running.outcome, DeadlineExceeded)
        assert isinstance(late.outcome, DeadlineExceeded)
        await all_memory_is_back(replica)
        await pair.start()
        await replica.up()
        patient = Asked(3.0)
        core.batcher.submit(patient)
        await until(lambda: answered(patient))
        assert pair.executors[-1].runs == 1

    paired(tmp_path, scenario)


def test_when_the_engine_is_given_up_everybody_hears_why(tmp_path):
    async def scenario(pair):
        replica = await pair.replica()
        core = await pair.version(replica)
        await pair.die()
        await until(lambda: replica._wire is None)
        waiting, coming = Asked(1.0), asyncio.create_task(pair.version(replica, OTHER))
        core.batcher.submit(waiting)
        await asyncio.sleep(0)
        replica.down("died 3 times")
        assert isinstance(waiting.outcome, ModelNotReady)
        assert "an engine died 3 times" in str(waiting.outcome)
        with pytest.raises(LoadFailed, match="engine an engine died 3 times"):
            await coming
        with pytest.raises(ModelNotReady):
            await core.describe(False)
        await pair.start()

    paired(tmp_path, scenario)


def test_a_version_that_the_next_engine_cannot_load_is_not_ready_and_others_are(tmp_path):
    async def scenario(pair):
        replica = await pair.replica()
        core, other = await pair.version(replica), await pair.version(replica, OTHER)
        await pair.die()
        await until(lambda: replica._wire is None)
        lost, kept = Asked(1.0), Asked(2.0)
        core.batcher.submit(lost)
        other.batcher.submit(kept)
        pair.broken.add(ID)
        await pair.start()
        await replica.up()
        await until(lambda: answered(kept) and lost.outcome is not None)
        assert isinstance(lost.outcome, ModelNotReady)
        assert "echo/1 is broken" in str(lost.outcome)

    paired(tmp_path, scenario)


@pytest.mark.parametrize("once_loaded", [False, True])
def test_a_version_that_two_engines_die_of_while_they_load_it_is_given_up_and_others_are_not(tmp_path, once_loaded):
    async def scenario(pair):
        replica = await pair.replica()
        if once_loaded:
            core = await pair.version(replica)
        pair.deadly_load = ID
        if once_loaded:
            await again(pair, replica)
        else:
            load = asyncio.create_task(pair.version(replica))
        other = asyncio.create_task(pair.version(replica, OTHER))
        for _ in range(2):
            await pair.dying.wait()
            pair.dying.clear()
            await again(pair, replica)
        asked = Asked(1.0)
        (await other).batcher.submit(asked)
        await until(lambda: answered(asked))
        if once_loaded:
            with pytest.raises(ModelNotReady, match="2 engines have died while they loaded it"):
                core.batcher.submit(Asked(2.0))
        else:
            with pytest.raises(LoadFailed, match="2 engines have died while they loaded it"):
                await load

    paired(tmp_path, scenario)


def test_both_ends_of_a_connection_that_is_closed_let_go_of_its_arenas(tmp_path, monkeypatch):
    closed = []
    monkeypatch.setattr(Arena, "close", lambda arena: closed.append(arena.fd))

    async def scenario(pair):
        replica = await pair.replica()
        await pair.version(replica)
        replica._wire.close()
        await until(lambda: len(closed) == 3)  # of answers here, of runs and answers there

    paired(tmp_path, scenario)
