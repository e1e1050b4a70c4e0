"""Clients in closed loop, with requests of several lengths, in virtual time: what the batcher makes of them."""

import asyncio

import numpy as np
import pytest
from batcher_fakes import Asked, batching
from fakes import FakeExecutor
from virtual_time import run_virtual, virtual

from batcher.adaptive import Adaptive
from batcher.costs import Terms
from batcher.decide import Limits, Plan
from batcher.entry import Entry
from batcher.lengths import Lengths
from batcher.timer import Timer
from batcher.work import Work
from headrace.padding import Padded, Padding

ENCODER = Terms(run=4e-3, row=50e-6, token=185e-6, square=1e-7)
"""384 wide, six layers, on one core: a run is worth 22 positions."""
DEVICE = Terms(run=3e-3, row=5e-6, token=1e-6, square=0.0)
"""A run costs the same whatever is in it, nearly."""
MOST_ROWS, CLIENTS, REQUESTS = 64, 32, 2000
THINK_S = 200e-6
LENGTHS = [int(each) for each in np.random.default_rng(1).lognormal(np.log(24), 0.6, 256).clip(4, 128)]
TIMED = [(rows, length) for rows in (1, 4, 16) for length in (4, 16, 64)]


class Device:
    slots = 1

    def __init__(self, terms):
        self.terms = terms

    async def run(self, inputs):
        await asyncio.sleep(self.terms.seconds(*inputs["x"].shape))
        return {"y": inputs["x"]}

    async def close(self):
        pass


class Client(Entry):
    __slots__ = ("answer",)

    def deliver(self, outcome):
        self.answer.set_result(outcome)


def lengths_of(terms):
    work = Work([(*each, terms.seconds(*each)) for each in TIMED])
    return Lengths(Padding({"x": Padded(1, 0)}, {"y": (1,)}), work)


def entry_of(length):
    entry = Asked(np.ones((1, length)))
    entry.length = length
    return entry


def rows_per_s(terms, lengths, *, padded, controller):
    """Over the last two thirds of the requests."""

    async def scene():
        loop = asyncio.get_running_loop()
        learnt = lengths_of(terms)
        limits = Limits(MOST_ROWS, 0.0) if controller is Timer else Limits(MOST_ROWS)
        seed = [(rows, terms.seconds(rows, 16)) for rows in (1, 2, 4, 8, 16, 32, 64)]
        chosen = Timer(limits) if controller is Timer else Adaptive(limits, seed=seed)
        answers = []
        async with batching(
            Device(terms), max_batch_rows=MOST_ROWS, controller=chosen, lengths=learnt if padded else None
        ) as batcher:
            coming = iter(lengths * REQUESTS)

            async def client(number):
                await asyncio.sleep(number * 1e-5)
                while len(answers) < REQUESTS:
                    length = next(coming)
                    key = () if padded else length
                    entry = Client({"x": np.zeros((1, length))}, 1, key, loop.time(), number)
                    entry.length = length if padded else 0
                    entry.answer = loop.create_future()
                    batcher.submit(entry)
                    outcome = await entry.answer
                    assert outcome["y"].shape == (1, length)
                    answers.append(loop.time())
                    await asyncio.sleep(THINK_S)

            await asyncio.gather(*(client(number) for number in range(1, CLIENTS + 1)))
        counted = answers[len(answers) // 3 :]
        return (len(counted) - 1) / (counted[-1] - counted[0])

    return run_virtual(scene())


@pytest.mark.parametrize("controller", [Adaptive, Timer])
@pytest.mark.parametrize(("terms", "gain"), [(ENCODER, 1.15), (DEVICE, 5.0)])
def test_padded_batches_serve_more_rows_than_those_of_one_length(terms, gain, controller):
    padded, same = (rows_per_s(terms, LENGTHS, padded=each, controller=controller) for each in (True, False))
    assert padded > gain * same


def patient():
    """A controller that has learnt to wait for up to a second."""
    controller = Adaptive(Limits(MOST_ROWS))
    controller.follower.plan = Plan(1, tuple(range(MOST_ROWS + 1)), enough_rows=MOST_ROWS, hold_s=1.0)
    return controller


@virtual
async def test_nobody_is_waited_for_while_another_shape_waits():
    executor = FakeExecutor(seconds=0.1)
    async with batching(executor, max_batch_rows=MOST_ROWS, controller=patient()) as batcher:
        batcher.ask([[1.0, 2.0]], key="two")
        await asyncio.sleep(0.25)
        assert executor.seen == []
        batcher.ask([[1.0, 2.0, 3.0]], key="three")
        await asyncio.sleep(2)
        assert executor.starts == [0.25, 1.25]  # the second one is alone: it waits


@virtual
async def test_a_timer_keeps_its_delay_whatever_else_waits():
    executor = FakeExecutor(seconds=0.1)
    async with batching(executor, delay_s=1.0) as batcher:
        batcher.ask([[1.0, 2.0]], key="two")
        await asyncio.sleep(0.25)
        batcher.ask([[1.0, 2.0, 3.0]], key="three")
        await asyncio.sleep(2)
        assert executor.starts == [1.0, 1.25]


@virtual
async def test_nobody_is_waited_for_if_batches_leave_some_of_those_who_wait_behind():
    executor, learnt = FakeExecutor(seconds=0.1), lengths_of(ENCODER)
    async with batching(executor, max_batch_rows=MOST_ROWS, controller=patient(), lengths=learnt) as batcher:
        one = Asked([[1.0, 2.0]], 0.0)
        one.length = 2
        batcher.submit(one)
        await asyncio.sleep(0.25)
        assert executor.seen == []
        waiting = [entry_of(length) for length in (5, 5, 100, 5)]
        for _ in range(10):
            learnt.choose(waiting, MOST_ROWS)  # as batches would
        assert learnt.leaves_some
        batcher.submit(entry_of(2))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert executor.batches == [2]
