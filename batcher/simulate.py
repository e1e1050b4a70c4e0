"""A model under load in virtual time: the batcher's queue and device as a short event loop, without tensors or clocks.

Receives a load, a device and a controller (the same object that the batcher asks), hands an `Outcome` back. It serves
`headrace simulate`, and the proof that the controller is as good as the best fixed setting (bench/regret.py). The
controller tries its own alternatives by the same rules before it changes its mind, but quicker: `rerun`.

Requests wait in order of arrival (`comers`). Batches in flight share the device: with k of them each advances at
1/slowdown(k) of the speed that it has alone. What happens at the same instant is seen together, as in one turn of
the event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import cycle
from math import inf

from batcher.comers import Request, line_of
from batcher.controller import Controller
from batcher.decide import WaitUntil
from batcher.outlook import Outlook

BREATH = 7


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
    keys: Sequence[int] = ()
    """Of the n-th request, cyclic: those with the same key may share a batch; empty: all may."""


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
    most_waiting: int = 0
    """Rows that waited when it was asked what to do with them, at most."""
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

    `outlook` refuses those who would be late, and knows no keys; without it nobody is refused, and nobody leaves.
    """
    outcome = Outcome()
    service = _Service(device, controller, outlook)
    line = line_of(load, controller, outlook, outcome)
    arrived, finished, dues, batches = outcome.arrived, outcome.finished, outcome.dues, outcome.batches
    queue, running = line.queue, service.running
    now, timer = 0.0, inf
    while len(finished) < requests:
        then = line.next_arrival if line.next_arrival < service.next_end else service.next_end
        then = min(then, timer)
        if then == inf:
            break
        now, timer = then, inf
        if service.next_end <= now:
            for batch in service.ended(now):
                arrived += [request[0] for request in batch]
                dues += [request[3] for request in batch] if load.timeouts else ()
                finished += [now] * len(batch)
                if load.clients:
                    line.come_back(now, batch)
        if line.next_arrival <= now:
            line.arrive(now)
        outcome.most_waiting = max(outcome.most_waiting, line.rows)
        while queue:
            verdict = line.ask(now, len(running))
            if isinstance(verdict, WaitUntil):
                timer = verdict.time
                break
            batch = line.take(now, verdict.rows)
            if not batch:
                continue
            batches.append(sum([request[1] for request in batch]))
            outcome.device_s += service.start(now, batches[-1], batch)
            if breathe is not None and not len(batches) & BREATH:
                breathe()
    return outcome


class _Service:
    """The device. Its own time runs slower the more batches are in flight: a batch ends when its seconds are over."""

    def __init__(self, device: Device, controller: Controller, outlook: Outlook | None = None) -> None:
        self.running: list[tuple[float, int, int, float, float, list[Request]]] = []
        """A heap of (end in the device's time, number, rows, start, busy then, batch)."""
        self._device = device
        self._controller = controller
        self._outlook = outlook
        self._noise = cycle(device.noise)
        self._time = 0.0
        self._since = 0.0
        """When a batch began or ended last: until the next does, nothing changes."""
        self._busy = 0.0
        """Sum over all batches of the seconds that they have been in flight."""
        self._number = 0
        self._slowdown = 1.0
        self.next_end = inf

    def _advance(self, now: float, time: float) -> None:
        """To now, which is `time` on the device."""
        self._busy += len(self.running) * (now - self._since)
        self._since, self._time = now, time

    def _find_next(self) -> None:
        running, slowdown = self.running, self._device.slowdown
        self._slowdown = slowdown[min(len(running), len(slowdown) - 1)]
        self.next_end = self._since + (running[0][0] - self._time) * self._slowdown if running else inf

    def ended(self, now: float) -> Iterator[list[Request]]:
        """The batches that are through, taken off. `now` is `next_end`."""
        self._advance(now, self.running[0][0])  # exactly, not but for a rounding error
        while self.running and self.running[0][0] <= self._time:
            _, number, rows, start, busy, batch = heappop(self.running)
            beside = (self._busy - busy) / (now - start) if now > start else 1.0
            clients = [request[2] for request in batch if request[2]]
            self._controller.finished(now, rows, now - start, beside, clients, batch[0][4])
            if self._outlook is not None:
                self._outlook.ended(number, now)
            yield batch
        self._find_next()

    def start(self, now: float, rows: int, batch: list[Request]) -> float:
        """Returns the seconds it will take if it stays alone."""
        self._advance(now, self._time + (now - self._since) / self._slowdown if self.running else self._time)
        seconds = self._device.seconds(rows) * next(self._noise)
        if self._device.drift is not None:
            seconds *= self._device.drift(now)
        self._number += 1
        heappush(self.running, (self._time + seconds, self._number, rows, now, self._busy, batch))
        self._controller.started(now, rows, len(self.running))
        if self._outlook is not None:
            self._outlook.began(self._number, now, rows)
        self._find_next()
        return seconds
