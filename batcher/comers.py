"""Those who come to a simulation, and the line in which they wait.

Receives a `Load`, tells the controller of every arrival, hands batches to the event loop in `simulate`. There are three
kinds of lines: one in which all may share a batch, one of several keys, as the batcher's queue has, and one with a door
that lets in only those who will be in time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable
from heapq import heapify, heappop, heappush
from itertools import cycle
from math import inf
from typing import TYPE_CHECKING, TypeAlias

from batcher.controller import Controller
from batcher.decide import Dispatch, WaitUntil
from batcher.outlook import Outlook

if TYPE_CHECKING:
    from batcher.simulate import Load, Outcome

LEAST_RETRY_S = 1e-6

Request: TypeAlias = tuple[float, int, int, float, Hashable]
"""When it arrived, its rows, its client, its deadline, its key."""


def line_of(load: Load, controller: Controller, outlook: Outlook | None, outcome: Outcome) -> Line:
    """An empty one."""
    if outlook is not None:
        return _Door(load, controller, outlook, outcome)
    return _Lines(load, controller) if len(set(load.keys)) > 1 else Line(load, controller)


class Line:
    """Those who come, and the queue of those who wait, in order of arrival."""

    def __init__(self, load: Load, controller: Controller) -> None:
        self.queue: deque[Request] = deque()
        self.rows = 0
        self._controller = controller
        self._opens = iter(load.opens)
        self._next_open = next(self._opens, inf)
        self._thinks = cycle(load.thinks)
        self._sizes = cycle(load.rows)
        self._timed = bool(load.timeouts)
        self._timeouts = cycle(load.timeouts or (inf,))
        step = load.apart_s / max(1, load.clients)
        self._returns = [(client * step + next(self._thinks), client) for client in range(1, load.clients + 1)]
        heapify(self._returns)
        self._find_next()

    def _find_next(self) -> None:
        returns = self._returns
        self.next_arrival = returns[0][0] if returns and returns[0][0] < self._next_open else self._next_open

    def arrive(self, now: float) -> None:
        """All who are there by now."""
        while self._next_open <= now:
            self._enter(self._next_open, 0)
            self._next_open = next(self._opens, inf)
        returns = self._returns
        while returns and returns[0][0] <= now:
            self._enter(*heappop(returns))
        self._find_next()

    def _enter(self, now: float, client: int) -> None:
        rows = next(self._sizes)
        self.queue.append((now, rows, client, now + next(self._timeouts) if self._timed else inf, ()))
        self.rows += rows
        self._controller.arrived(now, rows, client)

    def ask(self, now: float, running: int) -> Dispatch | WaitUntil:
        """What to do with those who wait, of whom there are some."""
        return self._controller.decide(now, self.rows, self.queue[0][0], running)

    def come_back(self, now: float, batch: Iterable[Request]) -> None:
        """The clients that were answered just now will be here again."""
        for request in batch:
            if request[2]:
                heappush(self._returns, (now + next(self._thinks), request[2]))
        self._find_next()

    def take(self, now: float, most_rows: int) -> list[Request]:
        """The oldest that fit, at least one."""
        return self._take_from(self.queue, most_rows)

    def _take_from(self, queue: deque[Request], most_rows: int) -> list[Request]:
        batch = [queue.popleft()]
        rows = batch[0][1]
        while queue and rows + queue[0][1] <= most_rows:
            rows += queue[0][1]
            batch.append(queue.popleft())
        self.rows -= rows
        return batch


class _Lines(Line):
    """One for each key, of which the one with the oldest request has its turn; while there are others nobody waits."""

    def __init__(self, load: Load, controller: Controller) -> None:
        super().__init__(load, controller)
        self._keys = cycle(load.keys)
        self._by_key: dict[Hashable, deque[Request]] = {}
        """None of them empty. In `queue` are all requests; those that have left their line are passed over."""

    def _enter(self, now: float, client: int) -> None:
        key, rows = next(self._keys), next(self._sizes)
        request = (now, rows, client, inf, key)
        self.queue.append(request)
        self._by_key.setdefault(key, deque()).append(request)
        self.rows += rows
        self._controller.arrived(now, rows, client, key)

    def ask(self, now: float, running: int) -> Dispatch | WaitUntil:
        key = self.queue[0][4]
        mine = self._by_key[key]
        rows = sum([request[1] for request in mine])
        verdict = self._controller.decide(now, rows, mine[0][0], running, key)
        if isinstance(verdict, WaitUntil) and verdict.time < inf and len(self._by_key) > 1:
            return Dispatch(rows, "at_once")  # as the batcher does: there is more to do
        return verdict

    def take(self, now: float, most_rows: int) -> list[Request]:
        by_key, queue = self._by_key, self.queue
        key = queue[0][4]
        batch = self._take_from(by_key[key], most_rows)
        if not by_key[key]:
            del by_key[key]
        while queue and ((mine := by_key.get(queue[0][4])) is None or queue[0] is not mine[0]):
            queue.popleft()
        return batch


class _Door(Line):
    """Lets in only those who will be in time. Clients that are refused come back when they are told to."""

    def __init__(self, load: Load, controller: Controller, outlook: Outlook, outcome: Outcome) -> None:
        super().__init__(load, controller)
        self._outlook = outlook
        self._outcome = outcome

    def _enter(self, now: float, client: int) -> None:
        due = now + next(self._timeouts)
        rows = next(self._sizes)
        late_s = self._outlook.late_by(now, self.rows, rows, due)
        if late_s > 0:
            self._outcome.refused.append(now)
            self._send_back(now, client, late_s)
            return
        self.queue.append((now, rows, client, due, ()))
        self.rows += rows
        self._controller.arrived(now, rows, client)

    def _send_back(self, now: float, client: int, wait_s: float) -> None:
        if client:
            heappush(self._returns, (now + max(wait_s, LEAST_RETRY_S) + next(self._thinks), client))

    def ask(self, now: float, running: int) -> Dispatch | WaitUntil:
        verdict = super().ask(now, running)
        return (
            self._outlook.hurry(now, verdict, self.rows, self.queue[0][3])
            if isinstance(verdict, WaitUntil)
            else verdict
        )

    def take(self, now: float, most_rows: int) -> list[Request]:
        front = ((request[3], request[1]) for request in self.queue)
        most_rows, leave = self._outlook.form(now, most_rows, self.rows, front)
        for _ in range(leave):
            came, rows, client, _, _ = self.queue.popleft()
            self.rows -= rows
            self._outcome.left.append(came)
            self._send_back(now, client, self._outlook.full_s)
        if leave:
            self._find_next()
        return super().take(now, most_rows) if self.queue else []
