"""Send requests to one server for a while, in a closed loop or at given times, and count what becomes of them.

Owns the connections. Invariants: 1. A latency counts from the time at which its request should have been sent: where
nobody was free to take it, it has waited already (wrk2's rule). 2. Every request is counted once (`tally`). 3. A
connection has one request at a time, and one that was lost is replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from time import monotonic
from typing import Protocol

from batcher.alarm import Alarm
from loadtest.connection import Answer, Answered, Sender
from loadtest.rhythms import Times
from loadtest.shot import Shots
from loadtest.tally import Tally, Told

SWEEP_S = 0.05
"""How often it is looked for requests that have run out of time, and for connections that are missing."""
SPIN_S = 100e-6
"""An alarm rings late by up to so much; the rest is spent turning the loop."""


FIRST = 8
"""Connections that an open load begins with."""


class Opener(Protocol):
    """Where requests go."""

    async def open(self, answered: Answered) -> Sender:
        """One more to send with. Raises OSError if the server cannot be reached."""
        ...

    async def close(self) -> None:
        """Nothing is sent any more."""
        ...


@dataclass(frozen=True, slots=True)
class Course:
    """How long."""

    warm_up_s: float = 1.0
    seconds: float = 10.0
    timeout_s: float = 10.0
    window_s: float = 1.0
    precision: float = 0.0
    """Ends earlier, once its numbers are known so well (`settled`); 0: never."""


class Attack:
    """One run over so many connections, at most. `times` None: each sends again as soon as it has its answer.

    `told`, once it is set, hears of each window when it is over.
    """

    def __init__(
        self,
        opener: Opener,
        shots: Shots,
        course: Course,
        connections: int,
        times: Times | None = None,
    ) -> None:
        self._opener = opener
        self._connections = connections
        self._shots = shots
        self._course = course
        self._times = times
        self._order: Iterator[int] = cycle(range(len(shots)))
        self._free: deque[Sender] = deque()
        """In turns: whoever was answered last would get all, and with a connection a server's replica."""
        self._all: set[Sender] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._late: deque[float] = deque()
        """Times at which requests should have been sent that wait for a connection."""
        self._from = self._until = 0.0
        self._rung: asyncio.Future[None] | None = None
        self._stopped = asyncio.Event()
        self.told: Told | None = None
        self.tally = Tally(0.0, course.window_s)

    async def run(self, start: float = 0.0) -> Tally:
        """From `start` (monotonic seconds) on, or at once. Raises OSError if the server cannot be reached at all."""
        course = self._course
        for _ in range(self._connections if self._times is None else min(FIRST, self._connections)):
            self._all.add(await self._connect())
        await asyncio.sleep(max(0.0, start - monotonic()))
        self._from = max(start, monotonic()) + course.warm_up_s
        self._until = self._from + course.seconds
        self.tally = Tally(self._from, course.window_s, self.told)
        sweeper = asyncio.create_task(self._sweep())
        try:
            if self._times is None:
                for connection in list(self._all):
                    self._fire(connection, monotonic())
            else:
                self._free.extend(self._all)
                await self._at_times(self._times)
            await self._over()
            await self._finish()
        finally:
            for task in (sweeper, *self._opening):
                task.cancel()
            for connection in self._all:
                connection.shot = -1
                connection.abort("")
            await self._opener.close()
        self.tally.close(monotonic(), self._until)
        return self.tally

    async def _at_times(self, times: Times) -> None:
        start = self._from - self._course.warm_up_s
        alarm = Alarm(self._ring)
        for time in times:
            due = start + time
            if due >= self._until:
                break
            while (now := monotonic()) < due:
                if due - now > SPIN_S:
                    self._rung = asyncio.get_running_loop().create_future()
                    alarm.set(now, due - SPIN_S)
                    await self._rung
                else:
                    await asyncio.sleep(0)
            if self._free:
                self._fire(self._free.popleft(), due)
            else:
                self._late.append(due)
                self._grow()
            if now - due > SPIN_S:  # behind: whoever has answered must be heard
                await asyncio.sleep(0)
        alarm.close()

    def _ring(self) -> None:
        if self._rung is not None and not self._rung.done():
            self._rung.set_result(None)

    def stop(self) -> None:
        """Send no more; what is under way may still be answered."""
        self._until = min(self._until, monotonic())
        self._stopped.set()
        self._ring()

    async def _over(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), max(0.0, self._until - monotonic()))

    async def _finish(self) -> None:
        """Wait for what is under way: until its time is out, no longer."""
        while any(connection.shot >= 0 for connection in self._all) or (self._times is not None and self._late):
            if monotonic() > self._until + self._course.timeout_s:
                break
            await asyncio.sleep(0.002)

    def _fire(self, connection: Sender, intended: float) -> None:
        number = next(self._order)
        shot = self._shots[number]
        now = monotonic()
        connection.shot, connection.intended = number, intended
        if intended >= self._from:
            self.tally.was_sent(len(shot.request), now - intended)
        connection.send(shot.request)

    def _answered(self, connection: Sender, answer: Answer) -> None:
        now = monotonic()
        number, connection.shot = connection.shot, -1
        if connection.intended >= self._from:
            self._count(number, answer, now, now - connection.intended)
        if not connection.open:
            self._all.discard(connection)
            if self._missing():
                self._grow()
        elif self._times is None:
            if now < self._until:
                self._fire(connection, now)
        elif self._late:
            self._fire(connection, self._late.popleft())
        else:
            self._free.append(connection)

    def _count(self, number: int, answer: Answer, now: float, latency_s: float) -> None:
        tally, shot = self.tally, self._shots[number]
        tally.bytes_in += len(answer.body)
        if answer.error == TIMED_OUT:
            tally.ran_out(now, shot.model)
        elif answer.error:
            tally.has_failed(now, shot.model, answer.error)
        elif not 200 <= answer.status < 300:
            tally.has_failed(now, shot.model, f"status {answer.status}")
        else:
            wrong = shot.check.wrong(answer) if shot.check is not None else ""
            if wrong:
                tally.was_wrong(now, shot.model, wrong)
            else:
                tally.was_right(now, shot.model, latency_s)

    # -- connections --------------------------------------------------------------------------------------------------

    async def _connect(self) -> Sender:
        return await self._opener.open(self._answered)

    def _missing(self) -> int:
        """Connections that are wanted and neither there nor being opened."""
        if self._times is None:
            wanted = self._connections if monotonic() < self._until else 0
        else:
            wanted = min(self._connections, len(self._all) + len(self._late))
        return max(0, wanted - len(self._all) - len(self._opening))

    def _grow(self) -> None:
        if len(self._all) + len(self._opening) < self._connections:
            task = asyncio.create_task(self._open_one())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open_one(self) -> None:
        try:
            connection = await self._connect()
        except OSError as error:
            if self._late and monotonic() < self._until:
                self.tally.kinds[f"no connection: {error.strerror or error}"] += 1
            return
        self._all.add(connection)
        if self._times is None:
            if monotonic() < self._until:
                self._fire(connection, monotonic())
        elif self._late:
            self._fire(connection, self._late.popleft())
        else:
            self._free.append(connection)

    async def _sweep(self) -> None:
        """Give up what takes too long; open connections anew."""
        while True:
            await asyncio.sleep(SWEEP_S)
            now = monotonic()
            self.tally.passed(now)
            for connection in list(self._all):
                if connection.shot >= 0 and now - connection.intended > self._course.timeout_s:
                    connection.abort(TIMED_OUT)
                elif not connection.open:
                    self._all.discard(connection)
                    if connection in self._free:
                        self._free.remove(connection)
            while self._late and now - self._late[0] > self._course.timeout_s:
                intended = self._late.popleft()
                if intended >= self._from:
                    self.tally.was_sent(0, 0.0)
                    self.tally.ran_out(now, "")
            for _ in range(self._missing()):
                self._grow()


TIMED_OUT = "timed out"
