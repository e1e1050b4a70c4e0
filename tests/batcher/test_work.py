"""Rows that differ in what they are: the controller hears what a batch would have taken of the usual ones."""

import asyncio

import numpy as np
import pytest
from batcher_fakes import Asked, batching
from fakes import FakeExecutor
from virtual_time import virtual

from batcher.costs import Terms
from batcher.decide import Limits
from batcher.timer import Timer
from batcher.work import Work

TERMS = Terms(run=10e-3, row=0.0, token=1e-3, square=0.0)
"""A run is worth ten positions."""
SEED = [(rows, length, TERMS.seconds(rows, length)) for rows in (1, 4, 16) for length in (4, 16, 64)]


def request(length, rows=1, arrived=0.0):
    entry = Asked(np.ones((rows, length)), arrived, key=length)
    entry.length = length
    return entry


def test_a_batch_is_told_of_as_if_it_were_of_the_mean_length():
    learnt = Work(SEED)
    batch = [request(16), request(16)]
    assert learnt.ran(batch, 2, TERMS.seconds(2, 16)) == pytest.approx(TERMS.seconds(2, 16))
    long = [request(64), request(64)]
    assert learnt.ran(long, 2, TERMS.seconds(2, 64)) == pytest.approx(TERMS.seconds(2, 40), rel=1e-3)
    assert learnt.ran([request(64, rows=0)], 0, 1.0) == 1.0


class Hears(Timer):
    """A controller that remembers how long batches took."""

    def __init__(self):
        super().__init__(Limits(8, 0.0), 1)
        self.heard = []

    def finished(self, now, rows, seconds, *rest):
        self.heard.append(seconds)
        super().finished(now, rows, seconds, *rest)


class Elements(FakeExecutor):
    """Takes as long as `TERMS` say of the rows and their elements."""

    async def run(self, inputs):
        self.seconds = TERMS.seconds(*inputs["x"].shape)
        return await super().run(inputs)


@virtual
async def test_of_shapes_that_share_no_batch_the_small_ones_do_not_seem_to_be_a_quicker_machine():
    controller = Hears()
    async with batching(Elements(), controller=controller, work=Work()) as batcher:
        for number in range(300):
            batcher.submit(request((4, 52, 100)[number % 3], arrived=asyncio.get_running_loop().time()))
            await asyncio.sleep(0.2)
    late = controller.heard[200:]
    assert max(late) < 1.02 * min(late)
    assert np.mean(late) == pytest.approx(TERMS.seconds(1, 52), rel=0.05)
