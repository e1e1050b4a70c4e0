"""In overload the loop naps while a batch runs, and only then; a batch that ends ends the nap."""

import asyncio
import threading
import time

from executor.nap import Nap
from executor.workers import Workers
from server.doze import AFTER_S, LONGEST_S, SHARE, Doze


class Counted(Nap):
    """Naps that take no time, and are remembered."""

    def __init__(self, running):
        super().__init__()
        self.running = running
        self.taken = []

    def take(self, seconds):
        self.taken.append(seconds)


async def turns(count):
    for _ in range(count):
        await asyncio.sleep(0)


def scenario(running, timeout_s, then):
    """A refusal, then `then(nap, doze, clock)`; `clock` is a list with the time."""

    async def run():
        nap, clock = Counted(running), [100.0]
        doze = Doze(nap, lambda: clock[0])
        doze.refused(timeout_s)
        await then(nap, doze, clock)

    asyncio.run(run())


def test_while_a_batch_runs_there_is_a_nap_in_every_turn_until_refusals_are_long_past():
    async def then(nap, doze, clock):
        await turns(10)
        assert 5 <= len(nap.taken) <= 11
        assert set(nap.taken) == {LONGEST_S}
        clock[0] += AFTER_S
        await turns(2)
        before = len(nap.taken)
        await turns(10)
        assert len(nap.taken) == before
        doze.refused(0.0)
        await turns(4)
        assert len(nap.taken) > before

    scenario(1, 0.0, then)


def test_several_refusals_are_one_nap_in_a_turn():
    async def then(nap, doze, clock):
        for _ in range(50):
            doze.refused(0.0)
        await turns(5)
        assert len(nap.taken) <= 6

    scenario(1, 0.0, then)


def test_a_nap_is_a_small_part_of_the_time_that_requests_have():
    async def then(nap, doze, clock):
        await turns(3)
        assert nap.taken
        assert nap.taken == [SHARE * 0.01] * len(nap.taken)

    scenario(1, 0.01, then)


def test_while_nothing_runs_nobody_naps_and_the_loop_is_not_kept_busy():
    async def then(nap, doze, clock):
        loop, seen = asyncio.get_running_loop(), []
        loop.call_later(20 * LONGEST_S, seen.append, True)
        rounds = 0
        while not seen:
            rounds += 1
            await asyncio.sleep(LONGEST_S)
        assert not nap.taken
        assert rounds <= 21
        nap.running = 1
        await asyncio.sleep(3 * LONGEST_S)
        assert nap.taken

    scenario(0, 0.0, then)


def test_the_end_of_a_run_ends_the_nap_and_is_heard_of():
    nap = Nap()

    async def run():
        begun, go_on = threading.Event(), threading.Event()

        def work(_):
            begun.set()
            assert go_on.wait(10)
            return "made"

        workers = Workers(work, 1, "w", nap)
        made = workers.call(None)
        assert nap.running == 1
        begun.wait(10)
        threading.Timer(0.05, go_on.set).start()
        started = time.monotonic()
        await asyncio.to_thread(nap.take, 10.0)
        assert time.monotonic() - started < 9
        assert await made == "made"
        assert nap.running == 0
        await asyncio.to_thread(workers.close)

    asyncio.run(run())


def test_ends_that_nobody_waited_for_spoil_one_nap_at_most():
    nap = Nap()
    for _ in range(100):
        nap.over()
    nap.take(10.0)
    started = time.monotonic()
    nap.take(0.02)
    assert time.monotonic() - started >= 0.02
