"""In overload the loop naps while a batch runs, and only then; a batch that ends ends the nap."""

import asyncio
import threading
import time

from executor.nap import Nap
from executor.workers import Workers
from server.doze import LONGEST_S, SHARE, Doze


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


def naps(running, *times):
    """Of a loop that refuses requests which had so many seconds, all in one turn."""

    async def run():
        nap = Counted(running)
        doze = Doze(nap)
        for timeout_s in times:
            doze.refused(timeout_s)
        await turns(5)
        return nap.taken

    return asyncio.run(run())


def test_there_is_one_nap_for_each_turn_that_refuses_somebody_while_a_batch_runs():
    assert naps(1, 0.0) == [LONGEST_S]
    assert naps(2, *[10.0] * 50) == [LONGEST_S]

    async def again_and_again():
        nap = Counted(1)
        doze = Doze(nap)
        for turn in range(1, 10):
            doze.refused(0.0)
            await turns(3)
            assert len(nap.taken) == turn

    asyncio.run(again_and_again())


def test_while_nothing_runs_nobody_naps():
    assert naps(0, 0.0, 1.0) == []


def test_a_nap_is_a_small_part_of_the_time_that_requests_have():
    assert naps(1, 0.01) == [SHARE * 0.01]


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
