"""Who is not served: refused on arrival for want of room or as it would be late, gone again as soon as it will be.

Called by `Batcher` for every request that is to be queued, and before it is decoded where many are refused. What is
foretold comes from `Outlook`; a controller that learns nothing foretells nothing, and then requests only expire.
"""

from __future__ import annotations

from collections.abc import Hashable
from itertools import islice
from math import inf
from typing import Any

import msgspec

from batcher import sentences
from batcher.adaptive import Adaptive
from batcher.controller import Controller
from batcher.decide import Dispatch, WaitUntil
from batcher.entry import Entry
from batcher.outlook import Outlook
from batcher.queue import RowQueue
from headrace import cell
from headrace.counters import ModelCounters
from headrace.errors import BadRequest, Overloaded, QueueFull, ServingError, WouldBeLate
from headrace.models import ModelId

UNKNOWN_S = 1.0
"""When to try again, if nothing is known."""


class _Last(msgspec.Struct):
    """The last refusal, of who had `timeout_s` behind so many rows, when `ends` batches had ended."""

    timeout_s: float
    until: float
    """Then the same request would be in time."""
    rows: int
    ends: int
    refusal: WouldBeLate

    def stands(self, now: float, timeout_s: float, rows: int, ends: int) -> bool:
        """Whether it is that of another request as well: it has no more time, and nothing has got better."""
        return timeout_s == self.timeout_s and now < self.until and rows >= self.rows and ends == self.ends


class Deadlines:
    """`outlook` is there from the first request with a deadline on; until then nobody need tell of anything.

    At most `max_rows` and `max_bytes` wait; a row has `row_bytes` at least.
    """

    def __init__(
        self,
        model: ModelId,
        controller: Controller,
        queue: RowQueue,
        counters: ModelCounters,
        max_rows: int,
        max_bytes: int,
        row_bytes: int,
    ) -> None:
        self.outlook: Outlook | None = None
        self._model = model
        self._learnt = controller if isinstance(controller, Adaptive) else None
        self._queue = queue
        self._counters = counters
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._row_bytes = row_bytes
        self._last: _Last | None = None

    def admit(self, entry: Entry, timeout_s: float, most_rows: int) -> None:
        """Let in `entry`, which has just arrived, and give it its size and deadline. A batch has at most `most_rows`.

        `timeout_s` 0 means none. Raises QueueFull, WouldBeLate, or BadRequest if it could never fit the queue.
        """
        queue = self._queue
        size = 0
        for array in entry.inputs.values():
            size += array.nbytes if array.dtype.char != "O" else sum(map(len, array.flat))
        entry.bytes = size
        if queue.rows + entry.rows > self._max_rows or queue.bytes + size > self._max_bytes:
            raise self._no_room(entry)
        if not timeout_s:
            return
        now = entry.arrived
        entry.due = now + timeout_s
        outlook = self.outlook
        if outlook is None:
            if self._learnt is None or not self._learnt.curve.known():
                return
            outlook = self.outlook = Outlook(self._learnt, most_rows)
        ahead = queue.rows if entry.rank >= now else queue.rows_before(entry.rank)
        late_s = outlook.late_by(now, ahead, entry.rows, entry.due)
        if late_s <= 0:
            return
        if outlook.tries(now, ahead):
            entry.due = inf
            return
        raise self._would_be_late(timeout_s, late_s)

    def refuse_unread(self, now: float, timeout_s: float) -> Overloaded | None:
        """What `admit` would raise now for one row of the usual priority, hence for any entry of it. See `Batcher`."""
        queue, outlook = self._queue, self.outlook
        if queue.rows >= self._max_rows:
            return self._full("rows", queue.rows, self._max_rows)
        if queue.bytes + self._row_bytes > self._max_bytes:
            return self._full("bytes", queue.bytes, self._max_bytes)
        if not timeout_s or outlook is None:
            return None
        last = self._last
        if last is not None and last.stands(now, timeout_s, queue.rows, outlook.ends):
            self._counters.cells[cell.SHED] += 1
            return last.refusal
        late_s = outlook.unread_late_by(now, queue.rows, now + timeout_s)
        if late_s <= 0:
            return None
        refusal = self._would_be_late(timeout_s, late_s)
        self._last = _Last(timeout_s, now + late_s, queue.rows, outlook.ends, refusal)
        return refusal

    def _would_be_late(self, timeout_s: float, late_s: float) -> WouldBeLate:
        self._counters.cells[cell.SHED] += 1
        return WouldBeLate(
            f"model {self._model.name!r} is overloaded: the request would be answered in"
            f" {(timeout_s + late_s) * 1e3:.1f} ms, its timeout is {timeout_s * 1e3:g} ms",
            late_s,
        )

    def _no_room(self, entry: Entry) -> ServingError:
        """The refusal of an entry for which the queue has no room, or never will."""
        what, found, waiting, most = "rows", entry.rows, self._queue.rows, self._max_rows
        if found <= most and (waiting + found <= most or entry.bytes > self._max_bytes):
            what, found, waiting, most = "bytes", entry.bytes, self._queue.bytes, self._max_bytes
        if found > most:
            return BadRequest(f"model {self._model.name!r} queues at most {most} {what}, the request has {found}")
        return self._full(what, waiting, most)

    def _full(self, what: str, waiting: int, most: int) -> QueueFull:
        name = self._model.name
        sentence = f"model {name!r} is overloaded: {waiting} {what} wait and at most {most} may (max_queue_{what})"
        return QueueFull(sentence, self._batch_s())

    def _batch_s(self) -> float:
        """Seconds until there is room: those of the next batch."""
        if self._learnt is None or not self._learnt.curve.known():
            return UNKNOWN_S
        plan, curve = self._learnt.plan, self._learnt.curve
        return curve.seconds(max(plan.sizes)) * curve.factor(plan.in_flight) / plan.in_flight

    def form(self, now: float, key: Hashable, rows: int, verdict: Dispatch, most_rows: int) -> tuple[int, list[Entry]]:
        """(rows of the next batch of this line, where `rows` wait; who leaves before it is formed)."""
        outlook = self.outlook
        if outlook is None or self._queue.runs_again(key) or next(self._queue.front(key)).due == inf:
            return verdict.rows, []
        if outlook.top != most_rows:
            outlook.top = most_rows
            outlook.refresh()
        front = ((entry.due, entry.rows) for entry in self._queue.front(key))
        rows, leave = outlook.form(now, verdict.rows, rows, front)
        return rows, list(islice(self._queue.front(key), leave)) if leave else []

    def hurry(self, now: float, key: Hashable, rows: int, verdict: WaitUntil) -> Dispatch | WaitUntil:
        """The same verdict on the `rows` waiting rows of a line, but that its first entry is not kept for too long."""
        if self.outlook is None:
            return verdict
        return self.outlook.hurry(now, verdict, rows, next(self._queue.front(key)).due)

    def describe(self, now: float) -> dict[str, Any]:
        """What a row that arrived now could expect, and why; nothing until a request with a deadline has come."""
        outlook = self.outlook
        if outlook is None:
            return {}
        expected_s, margin_s = outlook.expected(now, self._queue.rows, 1) - now, outlook.margin_s(0.0)
        return {
            "deadlines": {
                "expected_ms": round(expected_s * 1e3, 4),
                "margin_ms": round(margin_s * 1e3, 4),
                "full_batch_rows": outlook.full,
                "full_batch_ms": round(outlook.full_s * 1e3, 4),
                "timeout_ms": round(outlook.patience_s * 1e3, 4),
                "why": f"a row that arrives now is let in if its timeout is {sentences.ms(expected_s)} or more:"
                f" {sentences.count(self._queue.rows, 'row')} before it, full batches of"
                f" {sentences.count(outlook.full, 'row')}, and a margin for runs that take longer than expected",
            }
        }

    def too_late(self, entry: Entry, now: float) -> WouldBeLate:
        """What `entry`, which was let in and leaves before its batch is formed, is to hear."""
        assert self.outlook is not None
        self._counters.cells[cell.LEFT_LATE] += 1
        timeout_s = entry.due - entry.arrived
        again_s = self.outlook.expected(now, self._queue.rows, entry.rows) - now - timeout_s
        return WouldBeLate(
            f"model {self._model.name!r} is overloaded: the request was let in, but would be answered after its timeout"
            f" of {timeout_s * 1e3:g} ms",
            max(again_s, self.outlook.full_s),
        )
