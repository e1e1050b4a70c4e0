"""Random traffic against what must hold for any: the model of the batcher is a list of what was asked and seen."""

import asyncio
import itertools
from math import inf

import numpy as np
from batcher_fakes import batching
from fakes import FakeExecutor
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_time import run_virtual, turns

from headrace.errors import BadRequest, DeadlineExceeded, ExecutorFailed, QueueFull

NEVER = None
SLACK_S = 1e-6  # the loop's clock is a float, and its timers may be a nanosecond early

REQUESTS = st.lists(
    st.fixed_dictionaries(
        {
            "look": st.booleans(),
            "pause": st.sampled_from([0.0, 0.0, 0.001, 0.0025, 0.02]),
            "rows": st.integers(0, 12),
            "key": st.sampled_from("abc"),
            "poison": st.sampled_from([False, False, False, True]),
            "timeout_s": st.sampled_from([0.0, 0.0, 0.005, 0.03]),
            "cancel_after": st.sampled_from([NEVER, NEVER, 0.0, 0.003, 0.011]),
        }
    ),
    max_size=40,
)
BATCHERS = st.fixed_dictionaries(
    {
        "max_batch_rows": st.integers(1, 8),
        "delay_s": st.sampled_from([0.0, 0.004, 0.5]),
        "max_queue_rows": st.sampled_from([10, 1000]),
    }
)
EXECUTORS = st.builds(dict, slots=st.integers(1, 3), seconds=st.sampled_from([0.0, 0.003, 0.01]))


class Traffic:
    """Every row that was ever sent has a number of its own; those of a poisoned request are negative."""

    def __init__(self, batcher):
        self.batcher = batcher
        self.accepted = []
        self.owner = {}

    def send(self, request):
        first = 1 + len(self.owner)
        numbers = np.arange(first, first + request["rows"])
        values = -numbers if request["poison"] else numbers
        waiting = len(self.waiting())
        assert self.batcher.queue_rows == waiting
        room = waiting + request["rows"] <= self.batcher._max_queue_rows
        try:
            entry = self.batcher.ask(values, request["timeout_s"], request["key"])
        except (QueueFull, BadRequest) as refusal:
            assert not room
            assert isinstance(refusal, BadRequest) == (request["rows"] > self.batcher._max_queue_rows)
            return
        assert room
        request = request | {"entry": entry, "values": values, "at": entry.arrived}
        self.accepted.append(request)
        self.owner |= {int(number): request for number in numbers}
        if request["cancel_after"] is not NEVER:
            asyncio.get_running_loop().call_later(request["cancel_after"], self.batcher.cancel, entry)

    async def look(self):
        """Once all that can happen now has happened: a free slot has left nothing that is full or ripe."""
        executor, batcher = self.batcher.executor, self.batcher
        seen = -1
        while seen < len(executor.seen):
            seen = len(executor.seen)
            await turns(5)
        waiting = self.waiting()
        assert self.batcher.queue_rows == len(waiting)
        if executor.history[-1][1] < executor.slots:
            for key in "abc":
                group = [each for each in waiting if each["key"] == key]
                assert len(group) < batcher._max_batch_rows
                oldest = min((each["at"] for each in group), default=inf)
                assert asyncio.get_running_loop().time() < oldest + batcher.controller._delay_s + SLACK_S

    def waiting(self):
        """The request of each row that has neither been run nor given up."""
        begun = self.started()
        return [each for number, each in self.owner.items() if number not in begun and not each["entry"].done]

    def started(self):
        """Row -> when its first batch began, in the order of the batches."""
        first = {}
        for when, x in self.batcher.executor.seen:
            for value in abs(x):
                first.setdefault(int(value), when)
        return first


@settings(max_examples=250, deadline=None)
@given(REQUESTS, BATCHERS, EXECUTORS)
def test_any_traffic(requests, limits, executor):
    async def scenario():
        async with batching(FakeExecutor(**executor), **limits) as batcher:
            traffic = Traffic(batcher)
            for request in requests:
                if request["pause"]:
                    await asyncio.sleep(request["pause"])
                if request["look"]:
                    await traffic.look()
                traffic.send(request)
            await asyncio.sleep(10)
            await traffic.look()
            assert traffic.waiting() == []
            assert batcher.queue_rows == 0
        every_request_is_answered_once_and_with_its_own_rows(traffic)
        no_batch_is_above_the_limits_or_mixes_keys(traffic, limits["max_batch_rows"], executor["slots"])
        order_is_kept_within_a_key(traffic)
        nothing_waits_past_its_bound_while_a_slot_is_free(traffic, limits["delay_s"], executor["slots"])

    run_virtual(scenario())


def every_request_is_answered_once_and_with_its_own_rows(traffic):
    for request in traffic.accepted:
        entry = request["entry"]
        if not entry.deliveries:
            assert request["cancel_after"] is not NEVER
        elif isinstance(entry.outcome, DeadlineExceeded):
            assert request["timeout_s"]
        elif isinstance(entry.outcome, ExecutorFailed):
            assert request["poison"]
            assert request["rows"]
        else:
            assert entry.is_right(request["values"])
            assert not (request["poison"] and request["rows"])


def no_batch_is_above_the_limits_or_mixes_keys(traffic, max_batch_rows, slots):
    executor = traffic.batcher.executor
    assert executor.most_running <= slots
    for _, x in executor.seen:
        assert len(x) <= max_batch_rows
        assert len({traffic.owner[int(value)]["key"] for value in abs(x)}) <= 1


def order_is_kept_within_a_key(traffic):
    begun = list(traffic.started())
    for key in "abc":
        of_key = [number for number in begun if traffic.owner[number]["key"] == key]
        assert of_key == sorted(of_key)


def nothing_waits_past_its_bound_while_a_slot_is_free(traffic, delay_s, slots):
    history = traffic.batcher.executor.history
    for number, began in traffic.started().items():
        ripe = traffic.owner[number]["at"] + delay_s
        for (start, running), (end, _) in itertools.pairwise([*history, (began, 0)]):
            idle = min(end, began) - max(start, ripe)
            assert idle < SLACK_S or running == slots, f"row {number} was ripe at {ripe} and began at {began}"
