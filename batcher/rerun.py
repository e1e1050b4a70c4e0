"""A load run again under one plan, quickly: what `simulate` finds for a `Follower`, to the last bit.

For the twin, which tries dozens of plans. Receives a load, a device and a plan, hands an `Outcome` back. The rules are
those of `decide`; it is quick for what it leaves out: 1. Nobody is told of anything: a plan does not learn. 2. `decide`
is not asked at every arrival but when its answer may have changed. 3. The queue is a part of the list of all who came,
and a batch the beginning of that part. That nothing else is left out is tested (test_rerun.py).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Generator, Sequence
from heapq import heapify, heappop, heappush
from itertools import accumulate, chain, cycle, islice
from math import inf
from typing import TypeAlias

from batcher.decide import BUSY, Limits, Plan, Waiting, WaitUntil, decide
from batcher.follow import Follower
from batcher.simulate import Device, Load, Outcome, simulate

Run: TypeAlias = Callable[[int], Outcome]
"""Goes on until so many requests are answered, or none is left. The outcome is the same object each time."""

NEVER = 1e300
"""Sooner than infinity, when nobody comes."""


class Rerun:
    """A load without timeouts and a device that does not drift, for any number of plans."""

    def __init__(self, load: Load, device: Device, limits: Limits) -> None:
        self._load = load
        self._device = device
        self._limits = limits
        self._several_keys = len(set(load.keys)) > 1
        self._total = [0, *accumulate(islice(cycle(load.rows), len(load.opens)))]

    def under(self, plan: Plan) -> Run:
        """A run that has not begun. With several keys there is none that goes on: it begins anew, by `simulate`."""
        load, device, limits = self._load, self._device, self._limits
        if self._several_keys:
            return lambda requests: simulate(load, device, Follower(plan, limits), requests)
        line = _Returning(load) if load.clients else _Open(load.opens, self._total)
        run = _run(line, device, plan, limits)
        next(run)
        return run.send


def _run(  # noqa: PLR0912, PLR0915 - one loop over local names: a call would cost more than what it does
    line: _Open | _Returning, device: Device, plan: Plan, limits: Limits
) -> Generator[Outcome, int, None]:
    outcome = Outcome()
    arrived, finished, batches = outcome.arrived, outcome.finished, outcome.batches
    came, total, until = line.came, line.total, line.until
    away = line.away if plan.patience_s else {}
    head = tail = 0  # of those who wait, in `came`
    seconds, noise = device.seconds, cycle(device.noise)
    slowdown = (*device.slowdown, *[device.slowdown[-1]] * max(plan.in_flight, plan.most_in_flight))
    running: list[tuple[float, int, int, int]] = []  # as in `simulate`; the batch is a part of `came`
    device_s = since = 0.0
    ended, next_end, timer = -inf, NEVER, NEVER
    waiting, wanted, waits = Waiting(0, 0.0), 1.0, plan.enough_rows > 1
    requests = yield outcome
    while True:
        now, tail = until(next_end if next_end < timer else timer, head, tail, wanted)
        if now == NEVER:
            break
        if now >= next_end:
            device_s = running[0][0]
            since = ended = now
            while running and running[0][0] <= device_s:
                _, _, first, past = heappop(running)
                arrived += came[first:past]
                finished += [now] * (past - first)
                line.answered(now, first, past)
            next_end = now + (running[0][0] - device_s) * slowdown[len(running)] if running else NEVER
            if line.due <= now:
                now, tail = until(now, head, tail, inf)
        timer, wanted = NEVER, 1.0
        if waits and head < tail:
            waiting.quiet_since = ended if ended > came[tail - 1] else came[tail - 1]
            waiting.awaited_since = away[next(reversed(away))] if away else -inf
        while head < tail:
            before = total[head]
            rows = total[tail] - before
            if rows > outcome.most_waiting:  # noqa: PLR1730 - a call costs
                outcome.most_waiting = rows
            waiting.rows = rows
            waiting.oldest = came[head]
            verdict = decide(now, waiting, len(running), plan, limits)
            if verdict is BUSY:  # until there is a crowd
                wanted = plan.crowd_rows if len(running) < plan.most_in_flight else inf
                break
            if isinstance(verdict, WaitUntil):  # until there is enough; or any client, who may be the last expected
                timer, wanted = verdict.time, 1.0 if away else plan.enough_rows
                break
            past = bisect_right(total, before + verdict.rows, head + 2, tail + 1) - 1  # one at least
            rows = total[past] - before
            alone_s = seconds(rows) * next(noise)
            if running:
                device_s += (now - since) / slowdown[len(running)]
            since = now
            batches.append(rows)
            outcome.device_s += alone_s
            heappush(running, (device_s + alone_s, len(batches), head, past))
            next_end = now + (running[0][0] - device_s) * slowdown[len(running)]
            head = past
        while len(finished) >= requests:
            requests = yield outcome
    while True:
        yield outcome


class _Open:
    """Those who come whatever is answered."""

    due = inf

    def __init__(self, came: Sequence[float], total: Sequence[int]) -> None:
        self.came = came
        self.total = total
        """Rows of the first n who came."""
        self.away: dict[int, float] = {}
        """See `Follower`."""

    def until(self, now: float, head: int, tail: int, wanted: float) -> tuple[float, int]:
        """Let in those who come by now, or until so many rows wait as are wanted. Returns when, and the tail."""
        came = self.came
        if wanted < inf:
            last = tail if wanted == 1 else bisect_left(self.total, self.total[head] + wanted, tail) - 1
            if last < len(came) and came[last] < now:
                now = came[last]
        return now, bisect_right(came, now, tail)

    def answered(self, now: float, first: int, past: int) -> None:
        """These have their answers."""


class _Returning:
    """Clients that come back some time after their answer, and others besides."""

    def __init__(self, load: Load) -> None:
        self.came: list[float] = []
        self.total = [0]
        self.away: dict[int, float] = {}
        self._clients: list[int] = []
        """Of those who came; 0: none."""
        self._sizes = cycle(load.rows)
        self._thinks = cycle(load.thinks)
        self._opens = chain(load.opens, [inf])
        self._next_open = next(self._opens)
        self.due = inf
        """When the first of those who were answered is back."""
        step = load.apart_s / load.clients
        self._returns = [(client * step + next(self._thinks), client) for client in range(1, load.clients + 1)]
        heapify(self._returns)

    def until(self, now: float, head: int, tail: int, wanted: float) -> tuple[float, int]:
        """See `_Open`."""
        came, total, returns = self.came, self.total, self._returns
        wanted += total[head]
        while True:
            if returns and returns[0][0] < self._next_open:
                at = returns[0][0]
                if at > now:
                    break
                client = heappop(returns)[1]
                self.away.pop(client, None)
            else:
                at = self._next_open
                if at > now:
                    break
                client = 0
                self._next_open = next(self._opens)
            came.append(at)
            self._clients.append(client)
            total.append(total[-1] + next(self._sizes))
            if total[-1] >= wanted:
                now = at  # and those of the same instant
        return now, len(came)

    def answered(self, now: float, first: int, past: int) -> None:
        """They will be here again."""
        for client in self._clients[first:past]:
            if client:
                heappush(self._returns, (now + next(self._thinks), client))
                self.away[client] = now
        self.due = self._returns[0][0] if self._returns else inf
