"""Any traffic against what must hold for any: requests of all sizes and fates, whenever they come, leave or expire.

The model is a table of rows. Every row that was ever sent has a number of its own, which is also its value, and is
waiting, running or answered; the executor moves it as runs begin and end. Time is virtual and moves by rules only.
"""

import asyncio
from math import inf

import numpy as np
from batcher_fakes import Asked, Batching
from fakes import FakeExecutor
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from virtual_time import VirtualLoop, turns

from headrace.errors import BadRequest, DeadlineExceeded, OutOfMemory, QueueFull, ServingError

SLACK_S = 1e-6  # the loop's clock is a float, and its timers may be a nanosecond early
KEYS = "ab"
WELL = "well"
POISONS = {
    "refused": BadRequest,
    "bug": ZeroDivisionError,
    "given up": asyncio.CancelledError,
    "exit": SystemExit,
    "memory": OutOfMemory,
    "wrong rows": None,
}


class Sent(Asked):
    """A request, its rows' numbers, and how it is to end. `shared` is set if it hears of a run that others shared."""

    __slots__ = ("cancelled", "kind", "numbers", "shared", "table", "timeout_s")

    def __init__(self, table, numbers, now, key, kind, timeout_s):
        super().__init__(numbers, now, key)
        self.table, self.numbers, self.kind, self.timeout_s = table, numbers, kind, timeout_s
        self.cancelled = self.shared = False

    def deliver(self, outcome):
        super().deliver(outcome)
        if isinstance(outcome, ServingError) and not isinstance(outcome, DeadlineExceeded):
            self.shared = any(self.table.owner[number] is not self for number in self.table.last_run)


class Table(FakeExecutor):
    """The rows: whose they are, where they are, and the executor that fails as their owners are meant to."""

    def __init__(self, slots, seconds, fits):
        super().__init__(slots, seconds)
        self.fits = fits
        self.owner, self.place = {}, {}
        self.last_run = []
        self.wrongs = []
        """What ought never to happen, and did: an assertion inside a run would be one more failed run."""

    def waiting(self, key=None):
        return [
            number
            for number, place in self.place.items()
            if place not in {"running", "answered"} and not self.owner[number].done
            if key in (None, self.owner[number].key)
        ]

    async def run(self, inputs):
        numbers = [int(value) for value in inputs["x"]]
        self._begin(numbers)
        self._running(+1)
        await self._work()
        self._running(-1)
        self.last_run = numbers
        kinds = {self.owner[number].kind for number in numbers} - {WELL}
        short = len(numbers) > self.fits
        for number in numbers:
            self.place[number] = "failed" if short or kinds else "answered"
        if short:
            raise OutOfMemory(f"{len(numbers)} rows")
        if "wrong rows" in kinds:
            return {"y": np.zeros(len(numbers) + 1, np.float32)}
        for kind in kinds:
            raise POISONS[kind](kind)
        return {"y": 2 * inputs["x"]}

    def _begin(self, numbers):
        owners = [self.owner[number] for number in numbers]
        keys = {owner.key for owner in owners}
        self.seen.append((asyncio.get_running_loop().time(), numbers))
        for number in numbers:
            if self.place[number] in ("running", "answered"):
                self.wrongs.append(f"row {number} runs while it is {self.place[number]}")
            self.place[number] = "running"
        if any(owner.done for owner in owners):
            self.wrongs.append(f"a run for somebody who is gone: {numbers}")
        if len(keys) > 1:
            self.wrongs.append(f"groups share a batch: {keys}")
        latest = max((owner.arrived for owner in owners), default=0)
        overtaken = [number for key in keys for number in self.waiting(key) if self.owner[number].arrived < latest]
        if overtaken:
            self.wrongs.append(f"{numbers} overtake {overtaken}")


class AnyTraffic(RuleBasedStateMachine):
    @initialize(
        max_batch_rows=st.integers(1, 9),
        delay_s=st.sampled_from([0.0, 0.004, 0.5]),
        max_queue_rows=st.sampled_from([12, 1000]),
        slots=st.integers(1, 3),
        seconds=st.sampled_from([0.0, 0.003, 0.01]),
        fits=st.sampled_from([1, 3, inf, inf, inf]),
    )
    def begin(self, max_batch_rows, delay_s, max_queue_rows, slots, seconds, fits):
        self.runner = asyncio.Runner(loop_factory=VirtualLoop)
        self.table = Table(slots, seconds, fits)
        self.limits = max_batch_rows, delay_s, max_queue_rows
        self.sent = []

        async def start():
            self.batcher = Batching(self.table, max_batch_rows, delay_s, max_queue_rows)
            self.batcher.start()

        self.runner.run(start())

    @rule(
        rows=st.integers(0, 20),
        key=st.sampled_from(KEYS),
        kind=st.sampled_from([WELL, WELL, WELL, *POISONS]),
        timeout_s=st.sampled_from([0.0, 0.0, 0.005, 0.03]),
    )
    def send(self, rows, key, kind, timeout_s):
        numbers = list(range(len(self.table.owner) + 1, len(self.table.owner) + 1 + rows))

        async def submit():
            entry = Sent(self.table, numbers, asyncio.get_running_loop().time(), key, kind, timeout_s)
            most = self.limits[2]
            room = len(self.table.waiting()) + rows <= most
            if self.batcher.refuse_unread(timeout_s):
                assert not room or not rows, "what is refused unread would be refused"
            try:
                self.batcher.submit(entry, timeout_s)
            except (QueueFull, BadRequest) as refusal:
                assert not room
                assert isinstance(refusal, BadRequest) == (rows > most)
                return
            assert room
            assert entry.deliveries == [], "never before submit returns"
            self.sent.append(entry)
            self.table.owner |= dict.fromkeys(numbers, entry)
            self.table.place |= dict.fromkeys(numbers, "waiting")

        self.runner.run(submit())

    @rule(kinds=st.lists(st.sampled_from([WELL, WELL, *POISONS]), min_size=2, max_size=6), key=st.sampled_from(KEYS))
    def send_company(self, kinds, key):
        for kind in kinds:
            self.send(1, key, kind, 0.0)

    @precondition(lambda self: self.sent)
    @rule(which=st.floats(0, 1, exclude_max=True), may_be_done=st.booleans())
    def leave(self, which, may_be_done):
        """Whoever it is, and wherever: waiting, running, waiting again, answered."""
        among = [entry for entry in self.sent if may_be_done or not entry.done] or self.sent
        entry = among[int(which * len(among))]

        async def cancel():
            entry.cancelled |= not entry.done
            self.batcher.cancel(entry)

        self.runner.run(cancel())

    @rule()
    def turn(self):
        self.runner.run(turns(1))

    @rule(seconds=st.sampled_from([0.001, 0.0025, 0.005, 0.02, 40.0]))
    def wait(self, seconds):
        self.runner.run(asyncio.sleep(seconds))

    @rule()
    def nothing_waits_past_its_bound_while_a_slot_is_free(self):
        self.runner.run(self._look())

    async def _look(self):
        table, seen = self.table, -1
        while seen < len(table.seen):
            seen = len(table.seen)
            await turns(8)
        if table.history[-1][1] == table.slots:
            return
        delay_s, now = self.limits[1], asyncio.get_running_loop().time()
        for key in KEYS:
            waiting = table.waiting(key)
            assert len(waiting) < self.batcher._recovery.max_batch_rows
            assert "failed" not in {table.place[number] for number in waiting}
            assert all(now < table.owner[number].arrived + delay_s + SLACK_S for number in waiting)

    @invariant()
    def the_queue_is_as_long_as_its_gauge_says(self):
        assert self.batcher.queue_rows == len(self.table.waiting())
        assert self.batcher._queue.bytes == 4 * self.batcher.queue_rows

    @invariant()
    def no_batch_is_above_the_limits_or_out_of_order(self):
        assert self.table.wrongs == []
        assert all(len(numbers) <= self.limits[0] for _, numbers in self.table.seen)
        assert self.table.most_running <= self.table.slots

    @invariant()
    def every_answer_is_the_requests_own(self):
        for entry in self.sent:
            assert len(entry.deliveries) <= (0 if entry.cancelled else 1)
            if not entry.deliveries:
                continue
            if isinstance(entry.outcome, DeadlineExceeded):
                assert entry.timeout_s
            elif isinstance(entry.outcome, ServingError):
                assert entry.kind != WELL, "an innocent has failed"
                assert not entry.shared, "an error of a run that was shared"
            else:
                assert entry.is_right(entry.numbers)
                assert entry.kind == WELL or not entry.rows

    def teardown(self):
        async def end():
            await asyncio.sleep(100)
            await self._look()
            assert all(entry.cancelled or entry.deliveries for entry in self.sent), "somebody was forgotten"
            assert self.table.waiting() == []
            await self.batcher.close()

        if self.sent:
            for _ in range(self.table.slots):  # and no slot has stopped
                self.send(1, "a", WELL, 0.0)
            self.runner.run(end())
            self.the_queue_is_as_long_as_its_gauge_says()
            self.no_batch_is_above_the_limits_or_out_of_order()
            self.every_answer_is_the_requests_own()
        else:
            self.runner.run(self.batcher.close())
        self.runner.close()


TestAnyTraffic = AnyTraffic.TestCase
TestAnyTraffic.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
