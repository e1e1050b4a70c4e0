"""The batcher of one loaded model version: a queue, and per executor slot one loop that pulls batches from it.

    submit -> RowQueue -> [slot is free, the controller says so] -> concat -> executor.run -> split -> deliver

Receives validated inputs from the data plane, hands closed batches to an `Executor`. Invariants: 1. every submitted
request is delivered exactly once, unless it is cancelled. 2. A batch never has more than `max_batch_rows` rows.
3. A failing batch runs again in parts (`blame`) or, for want of memory, in smaller batches (`ceiling`): only requests
that fail alone see the error. 4. Slots never stop.
All requests that arrive in one turn of the event loop find each other, because a slot wakes in the next one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable, Sequence
from math import inf
from typing import Any

from batcher.account import Account, Accounts
from batcher.adaptive import Adaptive
from batcher.assemble import concat, split
from batcher.controller import Controller
from batcher.cut import Rejoin
from batcher.deadlines import Deadlines
from batcher.decide import Dispatch, Waiting, WaitUntil
from batcher.deliver import deliver
from batcher.describe import describe
from batcher.entry import Entry
from batcher.in_flight import InFlight
from batcher.lengths import Lengths
from batcher.queue import RowQueue
from batcher.recovery import Recovery
from batcher.sleepers import Sleepers
from batcher.turns import Turn, Turns
from batcher.work import Work
from headrace import cell
from headrace.counters import REASON_AT, ModelCounters
from headrace.errors import DeadlineExceeded, ExecutorFailed, Overloaded
from headrace.executor import Executor
from headrace.models import ModelId

NO_LIMIT = 1 << 62


class Batcher:
    """Call `start()`, then `submit` from the event loop; `close()` when nothing is submitted any more.

    `lengths`: several share a batch; `work`: rows differ. Not `batched`: `max_batch_rows` is 1. `row_bytes`: or more.
    """

    def __init__(
        self,
        model: ModelId,
        executor: Executor,
        controller: Controller,
        max_batch_rows: int,
        max_queue_rows: int,
        counters: ModelCounters,
        *,
        max_queue_bytes: int = NO_LIMIT,
        row_bytes: int = 0,
        batched: bool = True,
        lengths: Lengths | None = None,
        work: Work | None = None,
        clock: Callable[[], float] = time.monotonic,
        turn: Turn | None = None,
    ) -> None:
        assert batched or max_batch_rows == 1
        self._model = model
        self._executor = executor
        self.controller = controller
        self._counters = counters
        self._batched, self._lengths = batched, lengths
        self._work = lengths.work if lengths is not None else work
        self._learns = isinstance(controller, Adaptive)
        self._clock = clock
        self.accounts = Accounts()
        self._queue = RowQueue()
        limits = max_queue_rows, max_queue_bytes, row_bytes
        self._deadlines = Deadlines(model, controller, self._queue, counters, *limits)
        self._recovery = Recovery(model, self._queue, max_batch_rows, self._cut)
        self._sleepers = Sleepers(self._woken)
        self._slots: list[asyncio.Task[None]] = []
        self._turn = turn or Turns().join()
        self._turn.look = self._sleepers.wake
        self._in_flight = InFlight()
        self._full_house = False
        """As many batches are in flight as should be: nobody needs to look until one of them ends."""

    def start(self) -> None:
        """Start one pulling loop per executor slot. This object owns them until `close()`."""
        loop = asyncio.get_running_loop()
        for slot in range(self._executor.slots):
            self._slots.append(loop.create_task(self._pull(), name=f"batcher {self._model} slot {slot}"))

    async def close(self) -> None:
        """Stop the loops. Nothing may be waiting: the handles on the servable are what keeps it open."""
        for slot in self._slots:
            slot.cancel()
        await asyncio.gather(*self._slots, return_exceptions=True)
        self._sleepers.close()
        self._turn.close(self._clock())

    def submit(self, entry: Entry, timeout_s: float = 0.0, account: Account | None = None) -> None:
        """Queue an entry; its outcome is delivered later, never before this returns.

        `timeout_s` 0 means none. Into an `account` goes where its time went: close it, in `accounts`. Raises QueueFull,
        WouldBeLate, or BadRequest if it could never fit the queue.
        """
        queue = self._queue
        self._deadlines.admit(entry, timeout_s, self._recovery.max_batch_rows)
        if entry.rows <= self.controller.cut_rows and entry.rows <= self._recovery.max_batch_rows:
            queue.append(entry)
        else:
            for piece in self._cut(entry):
                queue.append(piece)
        if account is not None:
            self.accounts.open(entry, account)
        if timeout_s:
            entry.timer = asyncio.get_running_loop().call_later(timeout_s, self._expire, entry, timeout_s)
        self._counters.cells[cell.QUEUE_ROWS] = queue.rows
        if self.controller.listens:
            self.controller.arrived(entry.arrived, entry.rows, entry.client, entry.key)
        if self._sleepers.asleep and not self._full_house:
            self._sleepers.wake()

    def refuse_unread(self, timeout_s: float) -> Overloaded | None:
        """What `submit` would raise now for any entry of the usual priority with this timeout; None if it depends.

        For requests that have not been decoded: it counts like `submit`, which is to follow if this says None.
        """
        return self._deadlines.refuse_unread(self._clock(), timeout_s)

    def cancel(self, entry: Entry) -> None:
        """The client went away: what waits leaves the queue; the answer of what runs is dropped."""
        if entry.done:
            return
        entry.done = True
        if entry.timer is not None:
            entry.timer.cancel()
        self._leave(entry)

    def _cut(self, entry: Entry) -> Sequence[Entry]:
        entry.pieces = Rejoin(entry, self._leave).cut(min(self.controller.cut_rows, self._recovery.max_batch_rows))
        return entry.pieces

    def describe(self, *, recording: bool = False) -> dict[str, Any]:
        """What the controller has learnt and does, and why; see `batcher.describe`."""
        now, rows = self._clock(), self._lengths or self._work
        unlike = {} if rows is None else {"lengths" if rows is self._lengths else "shapes": rows.describe()}
        found = describe(self.controller, now, self._queue, self._in_flight.count, recording=recording)
        return found | self._turn.describe() | self._deadlines.describe(now) | unlike

    def _leave(self, entry: Entry) -> None:
        if entry.waiting:
            self._queue.abandon(entry)
        for piece in entry.pieces:
            piece.done = True
            self._leave(piece)
        self._counters.cells[cell.QUEUE_ROWS] = self._queue.rows

    def _expire(self, entry: Entry, timeout_s: float) -> None:
        self._counters.cells[cell.EXPIRED] += 1
        self.cancel(entry)
        said = f"the request's timeout of {timeout_s * 1e3:g} ms passed before it could be answered"
        entry.deliver(DeadlineExceeded(said))

    # -- the loop ---------------------------------------------------------------------------------------------------
    async def _pull(self) -> None:
        free, sleeps = 0.0, -1
        while True:
            await self._run(await self._next_batch(), free, sleeps)  # kept in no variable: an idle slot holds no tensor
            free, sleeps = self._clock(), self._sleepers.sleeps
            if self._queue.rows:
                await asyncio.sleep(0)  # an executor that runs on this loop never lets go of it by itself

    async def _next_batch(self) -> list[Entry]:
        while True:
            again = inf
            now = self._clock()
            for key, waiting in self._queue.groups():
                verdict = self._decide(now, key, waiting)
                if isinstance(verdict, Dispatch):
                    if self._turn.together and (refused_until := self._turn.ask(now, self._queue.later_s(key))):
                        await self._sleep(now, min(again, refused_until))
                    elif batch := self._close_batch(now, key, waiting.rows, verdict):
                        return batch
                    break  # it may start now, or they have all left
                again = min(again, verdict.time)
            else:
                self._turn.rest()
                await self._sleep(now, again)

    async def _sleep(self, now: float, again: float) -> None:
        self._full_house = again == inf and self._queue.rows > 0 and not self._turn.wants
        await self._sleepers.sleep(now, again)

    def _woken(self) -> None:
        if self._turn.together:
            self._turn.want()

    def _decide(self, now: float, key: Hashable, waiting: Waiting) -> Dispatch | WaitUntil:
        most = self._recovery.max_batch_rows
        if self._queue.runs_again(key):
            return Dispatch(most, "at_once")
        verdict = self.controller.decide(now, waiting.rows, waiting.oldest, self._in_flight.count, key)
        if isinstance(verdict, WaitUntil) and verdict.time < inf:
            if waiting.rows >= most:
                return Dispatch(most, "full")  # the memory allows no more
            if self._learns and (self._queue.lines > 1 or (self._lengths is not None and self._lengths.leaves_some)):
                return Dispatch(most, "at_once")  # there is more to do; whoever comes finds company among what is left
            if self._deadlines.outlook is not None:
                return self._deadlines.hurry(now, key, waiting.rows, verdict)
        return verdict

    def _close_batch(self, now: float, key: Hashable, waiting: int, verdict: Dispatch) -> list[Entry]:
        """The next batch; none if all who wait have left, as they would have been late."""
        rows, most = verdict.rows, self._turn.most_rows(now, self._recovery.max_batch_rows)
        if self._deadlines.outlook is not None:
            rows, late = self._deadlines.form(now, key, waiting, verdict, most)
            for entry in late:
                self._leave(entry)
                if not entry.done:  # one of its pieces has been late before it
                    deliver(self._model, [entry], [self._deadlines.too_late(entry, now)])
            if late and next(self._queue.front(key), None) is None:
                return []
        batch = self._queue.take(key, min(rows, most), None if self._lengths is None else self._lengths.choose)
        self._counters.cells[cell.QUEUE_ROWS] = self._queue.rows
        self._counters.cells[REASON_AT[verdict.reason]] += 1
        if self.accounts.entries:
            self.accounts.closed(batch, verdict.reason, self._in_flight.count + 1)
        if self._sleepers.asleep and self._queue.rows:
            self._sleepers.wake()  # what is left may be a batch too
        return batch

    async def _run(self, batch: list[Entry], free: float, sleeps: int) -> None:
        """Run a closed batch, deliver to each entry, tell the controller. Raises nothing.

        Its slot was free since `free`. If none slept since, the loop took so long to come to it: the batch's time too.
        """
        started = time.perf_counter_ns()
        taken = self._clock()
        since = free if self._sleepers.sleeps == sleeps else taken
        busy_s = self._in_flight.change(taken, +1)
        rows = [entry.rows for entry in batch]
        if self._turn.together:
            self._turn.started(taken, sum(rows), id(batch))
        self.controller.started(taken, sum(rows), self._in_flight.count)
        if self._deadlines.outlook is not None:
            self._deadlines.outlook.began(id(batch), taken, sum(rows))
        failure: BaseException | None = None
        try:
            lengths = self._lengths
            inputs = concat([entry.inputs for entry in batch]) if lengths is None else lengths.concat(batch)
            assembled = time.perf_counter_ns()
            outputs = await self._executor.run(inputs)
            ran = time.perf_counter_ns()
            parts = split(outputs, rows) if self._batched else [outputs]
            parts = parts if lengths is None else lengths.cut_back(batch, parts)
            done = time.perf_counter_ns()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            failure = ExecutorFailed(f"model {self._model.name!r} failed: its executor gave up the run")
        except (KeyboardInterrupt, GeneratorExit):  # not of the run: the process or this task is ending
            raise
        except BaseException as error:  # whatever it was, these requests must hear of it and the slot must go on
            failure = error
        if failure is not None:
            verdict = self._recovery.failed(batch, sum(rows), failure, self._clock())
            self._counters.cells[cell.QUEUE_ROWS] = self._queue.rows
            if verdict is not None:
                deliver(self._model, batch, [verdict])
            del failure, verdict  # its traceback holds this frame: together they would keep the batch's tensors
            self._ended(batch, sum(rows), taken, since, busy_s, worked=False)
            return
        if self.accounts.entries:
            spans = (assembled - started) / 1e9, (ran - assembled) / 1e9, (done - ran) / 1e9
            self.accounts.ran(batch, taken, *spans)
        deliver(self._model, batch, parts)  # before it is counted: somebody waits
        queued_ns = [int((taken - entry.arrived) * 1e9) for entry in batch]
        self._counters.batch_ran(sum(rows), queued_ns, assembled - started, ran - assembled, done - ran)
        if self._recovery.pending:
            self._recovery.worked(sum(rows), self._clock())
        self._ended(batch, sum(rows), taken, since, busy_s, worked=True)

    def _ended(self, batch: list[Entry], rows: int, taken: float, since: float, busy_s: float, *, worked: bool) -> None:
        """A slot is free again. What the controller learns is the time for which it was not, answers included."""
        now = self._clock()
        busy_s = self._in_flight.change(now, -1) - busy_s
        beside = busy_s / (now - taken) if now > taken else 1.0
        self._turn.ended(now, rows, id(batch), now - taken, more=self._queue.rows > 0)
        self._full_house = False
        if self._deadlines.outlook is not None:
            self._deadlines.outlook.ended(id(batch), now, worked=worked)
        clients = [entry.client for entry in batch if entry.client] if self.controller.listens else ()
        seconds = now - since if worked else 0.0
        if seconds and self._work is not None:
            seconds = self._work.ran(batch, rows, seconds)
        self.controller.finished(now, rows, seconds, beside, clients, batch[0].key)
