"""Calls into threads: results, failures, cancellation, and what is left of them."""

import asyncio
import gc
import subprocess
import sys
import threading
import weakref

import pytest

from executor.workers import Workers


class Thing:
    pass


def run(scenario):
    return asyncio.run(asyncio.wait_for(scenario, 10))


def test_results_and_exceptions_come_back():
    def function(argument):
        if argument == "bad":
            raise ValueError("no")
        return threading.current_thread().name, argument

    async def scenario():
        workers = Workers(function, 1, "run m/1")
        assert await workers.call("good") == ("run m/1 0", "good")
        with pytest.raises(ValueError, match="no"):
            await workers.call("bad")
        assert await workers.call("again") == ("run m/1 0", "again")
        workers.close()

    run(scenario())


def test_calls_run_side_by_side_up_to_the_count():
    both = threading.Barrier(2, timeout=5)

    async def scenario():
        workers = Workers(lambda _: both.wait(), 2, "w")
        await asyncio.gather(workers.call(1), workers.call(2))
        workers.close()

    run(scenario())


def test_no_thread_before_a_call_that_needs_it_and_none_after_close():
    before = threading.active_count()

    async def scenario():
        workers = Workers(lambda x: x, 3, "w")
        assert threading.active_count() == before
        for _ in range(5):
            await workers.call(1)
        assert threading.active_count() == before + 1
        await asyncio.gather(*map(workers.call, range(20)))
        assert before + 1 <= threading.active_count() <= before + 3
        workers.close()
        workers.close()
        assert threading.active_count() == before

    run(scenario())


def test_of_idle_threads_the_one_that_was_busy_last_is_taken():
    barrier = threading.Barrier(3, timeout=5)

    def function(meet):
        if meet:
            barrier.wait()
        return threading.current_thread().name

    async def scenario():
        workers = Workers(function, 3, "w")
        names = await asyncio.gather(*(workers.call(True) for _ in range(3)))
        assert len(set(names)) == 3
        assert len({await workers.call(False) for _ in range(20)}) == 1
        workers.close()

    run(scenario())


def test_calls_that_wait_for_a_thread_begin_in_their_order():
    order = []

    async def scenario():
        workers = Workers(order.append, 1, "w")
        await asyncio.gather(*map(workers.call, range(50)))
        workers.close()

    run(scenario())
    assert order == list(range(50))


def test_close_waits_for_the_calls_that_wait():
    done = []

    async def scenario():
        workers = Workers(done.append, 2, "w")
        for number in range(50):
            workers.call(number)
        await asyncio.to_thread(workers.close)

    run(scenario())
    assert sorted(done) == list(range(50))


def test_a_cancelled_call_that_waits_never_begins_and_one_that_runs_finishes():
    go, begun, finished = threading.Event(), threading.Event(), []

    def function(argument):
        begun.set()
        assert go.wait(5)
        finished.append(argument)

    async def scenario():
        workers = Workers(function, 1, "w")
        running, waiting, last = workers.call("running"), workers.call("waiting"), workers.call("last")
        await asyncio.to_thread(begun.wait, 5)
        running.cancel()
        waiting.cancel()
        go.set()
        await last
        assert finished == ["running", "last"]
        workers.close()

    run(scenario())


def test_an_idle_thread_keeps_nothing_alive():
    async def scenario():
        workers = Workers(lambda thing: Thing(), 1, "w")
        given = Thing()
        seen = weakref.ref(given)
        made = weakref.ref(await workers.call(given))
        del given
        await workers.call(Thing())  # the thread has come back to its queue once more
        gc.collect()
        assert seen() is None
        assert made() is None
        workers.close()

    run(scenario())


def test_a_result_for_a_closed_loop_is_dropped():
    go, begun = threading.Event(), threading.Event()

    def function(_):
        begun.set()
        assert go.wait(5)

    workers = Workers(function, 1, "w")

    async def scenario():
        workers.call(None)
        await asyncio.to_thread(begun.wait, 5)

    run(scenario())
    go.set()
    workers.close()


@pytest.mark.parametrize(
    "raised", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), StopIteration(5), MemoryError()]
)
def test_whatever_a_call_raises_is_heard_of_and_the_thread_goes_on(raised):
    def function(argument):
        if argument == "bad":
            raise raised
        return threading.current_thread().name

    async def scenario():
        workers = Workers(function, 1, "w")
        (heard,) = await asyncio.gather(workers.call("bad"), return_exceptions=True)
        assert heard is raised or "StopIteration(5)" in str(heard)
        assert await workers.call("good") == "w 0"
        workers.close()

    run(scenario())


def test_without_a_thread_to_be_had_calls_fail_or_wait_for_those_that_there_are():
    script = """
import asyncio, resource, threading
from executor.workers import Workers

def allow(more):
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + more, hard))

async def scenario():
    none, some = Workers(lambda x: x, 2, "none"), Workers(lambda x: x, 50, "some")
    allow(1 << 20)
    try:
        await none.call(1)
    except RuntimeError as error:
        print(error)
    allow(30 << 20)  # a few stacks of 8 MB
    print(await asyncio.gather(*map(some.call, range(9))) == list(range(9)), 0 < threading.active_count() - 1 < 9)
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    print(await none.call(2), await some.call(3))

threading.stack_size(8 << 20)
hard = resource.getrlimit(resource.RLIMIT_AS)[1]
asyncio.run(scenario())
"""
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert said.stdout.splitlines() == ["can't start new thread", "True True", "2 3"], said.stderr
