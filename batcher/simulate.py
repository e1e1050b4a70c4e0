"""A model under load in virtual time: the batcher's queue and device as a short event loop, without tensors or clocks.

Receives a load, a device and a controller (the same object that the batcher asks), hands an `Outcome` back. It serves
three: the controller, which tries its own alternatives here before it changes its mind (`plan`); `headrace simulate`;
and the proof that the controller is as good as the best fixed setting (bench/regret.py).

Requests wait in order of arrival. Batches in flight share the device: with k of them each advances at 1/slowdown(k) of
the speed that it has alone. What happens at the same instant is seen together, as in one turn of the event loop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import cycle
from math import inf
from typing import TypeAlias

from batcher.controller import Controller
from batcher.decide import WaitUntil
from batcher.outlook import Outlook

BREATH = 7
LEAST_RETRY_S = 1e-6


@dataclass(slots=True)
class Load:
    """Requests in open loop at the times `opens`, and `clients` that come back after `thinks` (cyclic), in seconds.

    `rows` are the rows of the n-th request, cyclic. The clients begin one after the other, over `apart_s`.
    """

    opens: Sequence[float] = ()
    clients: int = 0
    thinks: Sequence[float] = (0.0,)
    rows: Sequence[int] = (1,)
    apart_s: float = 0.0
    timeouts: Sequence[float] = ()
    """Of the n-th request, cyclic, in seconds; empty: none has one."""


@dataclass(slots=True)
class Device:
    """Seconds of a batch alone, by rows, and by how much k batches in flight slow each other down.

    `noise`: factors on the seconds of the n-th batch, cyclic. `drift`: factor by time.
    """

    seconds: Callable[[int], float]
    slowdown: Sequence[float] = (1.0, 1.0)
    """By batches in flight, from 0; the last holds for more."""
    noise: Sequence[float] = (1.0,)
    drift: Callable[[float], float] | None = None

    @classmethod
    def of_table(cls, table: Sequence[float], slowdown: Sequence[float], noise: Sequence[float]) -> Device:
        """With `table[rows]` seconds; a request of more rows is cut: full batches and a rest, one after the other."""
        top = len(table) - 1

        def seconds(rows: int) -> float:
            if rows <= top:
                return table[rows]
            full, rest = divmod(rows, top)
            return full * table[top] + (table[rest] if rest else 0.0)

        return cls(seconds, slowdown, noise)


@dataclass(slots=True)
class Outcome:
    """What became of the requests, in order of their answers; seconds."""

    arrived: list[float] = field(default_factory=list)
    finished: list[float] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    """Rows of each batch."""
    device_s: float = 0.0
    """Seconds of the batches, each as if alone."""
    dues: list[float] = field(default_factory=list)
    """Of those that were answered, if the load has timeouts."""
    refused: list[float] = field(default_factory=list)
    """Arrivals of those that were not let in."""
    left: list[float] = field(default_factory=list)
    """Arrivals of those that were, and left as they would have been late."""


def simulate(
    load: Load,
    device: Device,
    controller: Controller,
    requests: int,
    breathe: Callable[[], None] | None = None,
    outlook: Outlook | None = None,
) -> Outcome:
    """Run until `requests` are answered or none is left. `breathe` is called every few batches.

    `outlook` refuses those who would be late; without it nobody is refused, and nobody leaves.
    """
    outcome = Outcome()
    service = _Service(device, controller, outlook)
    line = _Line(load, controller) if outlook is None else _Door(load, controller, outlook, outcome)
    arrived, finished, dues, batches = outcome.arrived, outcome.finished, outcome.dues, outcome.batches
    queue, running = line.queue, service.running
    now, timer = 0.0, inf
    while len(finished) < requests:
        then = line.next_arrival if line.next_arrival < service.next_end else service.next_end
        then = min(then, timer)
        if then == inf:
            break
        if running:
            service.advance(now, then)
        now, timer = then, inf
        if service.next_end <= now:
            for batch in service.ended(now):
                arrived += [came for came, _, _, _ in batch]
                dues += [due for _, _, _, due in batch] if load.timeouts else ()
                finished += [now] * len(batch)
                if load.clients:
                    line.come_back(now, batch)
        if line.next_arrival <= now:
            line.arrive(now)
        while queue:
            verdict = controller.decide(now, line.rows, queue[0][0], len(running))
            if outlook is not None and isinstance(verdict, WaitUntil):
                verdict = outlook.hurry(now, verdict, line.rows, queue[0][3])
            if isinstance(verdict, WaitUntil):
                timer = verdict.time
                break
            batch = line.take(now, verdict.rows)
            if not batch:
                continue
            batches.append(sum([rows for _, rows, _, _ in batch]))
            outcome.device_s += service.start(now, batches[-1], batch)
            if breathe is not None and not len(batches) & BREATH:
                breathe()
    return outcome


_Request: TypeAlias = tuple[float, int, int, float]
"""When it arrived, its rows, its client, its deadline."""


class _Line:
    """Those who come, and the queue."""

    def __init__(self, load: Load, controller: Controller) -> None:
        self.queue: deque[_Request] = deque()
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
        self.queue.append((now, rows, client, now + next(self._timeouts) if self._timed else inf))
        self.rows += rows
        self._controller.arrived(now, rows, client)

    def come_back(self, now: float, batch: Iterable[_Request]) -> None:
        """The clients that were answered just now will be here again."""
        for _, _, client, _ in batch:
            if client:
                heappush(self._returns, (now + next(self._thinks), client))
        self._find_next()

    def take(self, now: float, most_rows: int) -> list[_Request]:
        """The oldest that fit, at least one."""
        queue = self.queue
        batch = [queue.popleft()]
        rows = batch[0][1]
        while queue and rows + queue[0][1] <= most_rows:
            rows += queue[0][1]
            batch.append(queue.popleft())
        self.rows -= rows
        return batch


class _Door(_Line):
    """A line that lets in only those who will be in time. Clients that are refused come back when they are told to."""

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
        self.queue.append((now, rows, client, due))
        self.rows += rows
        self._controller.arrived(now, rows, client)

    def _send_back(self, now: float, client: int, wait_s: float) -> None:
        if client:
            heappush(self._returns, (now + max(wait_s, LEAST_RETRY_S) + next(self._thinks), client))

    def take(self, now: float, most_rows: int) -> list[_Request]:
        front = ((due, rows) for _, rows, _, due in self.queue)
        most_rows, leave = self._outlook.form(now, most_rows, self.rows, front)
        for _ in range(leave):
            came, rows, client, _ = self.queue.popleft()
            self.rows -= rows
            self._outcome.left.append(came)
            self._send_back(now, client, self._outlook.full_s)
        if leave:
            self._find_next()
        return super().take(now, most_rows) if self.queue else []


class _Service:
    """The device. Its own time runs slower the more batches are in flight: a batch ends when its seconds are over."""

    def __init__(self, device: Device, controller: Controller, outlook: Outlook | None = None) -> None:
        self.running: list[tuple[float, int, int, float, float, list[_Request]]] = []
        """A heap of (end in the device's time, number, rows, start, busy then, batch)."""
        self._device = device
        self._controller = controller
        self._outlook = outlook
        self._noise = cycle(device.noise)
        self._time = 0.0
        self._busy = 0.0
        """Sum over all batches of the seconds that they have been in flight."""
        self._number = 0
        self._slowdown = 1.0
        self.next_end = inf

    def _find_next(self, now: float) -> None:
        running, slowdown = self.running, self._device.slowdown
        self._slowdown = slowdown[min(len(running), len(slowdown) - 1)]
        self.next_end = now + (running[0][0] - self._time) * self._slowdown if running else inf

    def advance(self, now: float, then: float) -> None:
        """From now until then, at most the next end, nothing changes; there is at least one batch."""
        ends = self.next_end <= then  # exactly, not but for a rounding error
        self._time = self.running[0][0] if ends else self._time + (then - now) / self._slowdown
        self._busy += len(self.running) * (then - now)

    def ended(self, now: float) -> Iterator[list[_Request]]:
        """The batches that are through, taken off."""
        while self.running and self.running[0][0] <= self._time:
            _, number, rows, start, busy, batch = heappop(self.running)
            beside = (self._busy - busy) / (now - start) if now > start else 1.0
            self._controller.finished(now, rows, now - start, beside, [client for _, _, client, _ in batch if client])
            if self._outlook is not None:
                self._outlook.ended(number, now)
            yield batch
        self._find_next(now)

    def start(self, now: float, rows: int, batch: list[_Request]) -> float:
        """Returns the seconds it will take if it stays alone."""
        seconds = self._device.seconds(rows) * next(self._noise)
        if self._device.drift is not None:
            seconds *= self._device.drift(now)
        self._number += 1
        heappush(self.running, (self._time + seconds, self._number, rows, now, self._busy, batch))
        self._controller.started(now, rows, len(self.running))
        if self._outlook is not None:
            self._outlook.began(self._number, now, rows)
        self._find_next(now)
        return seconds
