"""A load from several processes that begin together, as one process has one core; their tallies are added up.

A worker gets every so many-th time of the same schedule, or a share of the connections, so that the whole is what one
process would have sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from multiprocessing.connection import Connection, wait
from time import monotonic, process_time
from typing import TypeAlias

import uvloop

from loadtest.attack import Attack, Course
from loadtest.load import Load
from loadtest.settled import Numbers, numbers, settled
from loadtest.shot import Shots
from loadtest.tally import ClosedWindow, Tally, Told
from loadtest.where import Where

SOON_S = 0.05
"""From when all are ready until they begin."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be sent where and for how long, by all workers together."""

    where: Where
    shots: Shots
    course: Course


Done: TypeAlias = tuple[Tally, float]
"""What became of the requests, and the share of a core that the busiest process needed."""


def run(job: Job, load: Load, workers: int = 1, told: Told | None = None) -> Done:
    """Raises OSError if the server cannot be reached. `told` hears of the windows, those of all workers as one.

    SIGINT ends the load early, and so does a course that has a precision once it is reached; what came counts.
    """
    workers = max(1, min(workers, load.connections))
    watch = Watch(job.course.precision, workers, told, rates=not load.is_open)
    if workers == 1:
        return _work(job, load, 0, 1, 0.0, watch.over)
    spawn = multiprocessing.get_context("spawn")
    pipes = [spawn.Pipe() for _ in range(workers)]
    processes = [
        spawn.Process(target=_child, args=(theirs, job, load, worker, workers), daemon=True)
        for worker, (_, theirs) in enumerate(pipes)
    ]
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the workers have heard it too
    try:
        for process in processes:
            process.start()
        for mine, theirs in pipes:
            theirs.close()
            mine.recv()
        start = monotonic() + SOON_S
        for mine, _ in pipes:
            mine.send(start)
        return _sum(_answers([mine for mine, _ in pipes], watch))
    finally:
        for process in processes:
            process.terminate()
            process.join()
        signal.signal(signal.SIGINT, interrupt)


class Watch:
    """Puts windows of several processes that belong together together, and says when they are enough."""

    def __init__(self, precision: float, workers: int, told: Told | None, *, rates: bool) -> None:
        self._precision, self._rates = precision, rates
        self._workers, self._told = workers, told
        self._parts: dict[float, list[ClosedWindow]] = {}
        self._seen: list[Numbers] = []

    def told(self, window: ClosedWindow) -> bool:
        """Of one process. True: the run may end."""
        parts = self._parts.setdefault(window.start_s, [])
        parts.append(window)
        if len(parts) < self._workers:
            return False
        del self._parts[window.start_s]
        whole = reduce(ClosedWindow.plus, parts)
        if self._told is not None:
            self._told(whole)
        if not self._precision:
            return False
        self._seen.append(numbers(whole))
        return settled(self._seen, self._precision, rates=self._rates)

    def over(self, attack: Attack) -> Told:
        """For an attack in this process."""

        def told(window: ClosedWindow) -> None:
            if self.told(window):
                attack.stop()

        return told


def _answers(pipes: list[Connection], watch: Watch) -> Iterator[Done]:
    waiting = list(pipes)
    while waiting:
        for pipe in wait(waiting):
            assert isinstance(pipe, Connection)
            message = pipe.recv()
            if isinstance(message, OSError):
                raise message
            if not isinstance(message, ClosedWindow):
                waiting.remove(pipe)
                yield message
            elif watch.told(message):
                for each in waiting:
                    with contextlib.suppress(OSError):  # it is over already
                        each.send(None)


def _sum(answers: Iterator[Done]) -> Done:
    whole, busy = next(answers)
    for tally, each in answers:
        whole.add(tally)
        busy = max(busy, each)
    return whole, busy


def _child(pipe: Connection, job: Job, load: Load, worker: int, workers: int) -> None:
    def told_by(attack: Attack) -> Told:
        def over() -> None:
            pipe.recv()
            attack.stop()

        asyncio.get_running_loop().add_reader(pipe.fileno(), over)
        return pipe.send

    pipe.send(None)
    try:
        pipe.send(_work(job, load, worker, workers, pipe.recv(), told_by))
    except OSError as error:
        pipe.send(error)


def _work(job: Job, load: Load, worker: int, workers: int, start: float, told_by: Callable[[Attack], Told]) -> Done:
    own, times = load.share(worker, workers, job.course.warm_up_s)

    async def attacked() -> Tally:
        attack = Attack(job.where.opener(), job.shots, job.course, own.connections, times)
        attack.told = told_by(attack)
        loop = asyncio.get_running_loop()
        if threading.current_thread() is threading.main_thread():
            loop.add_signal_handler(signal.SIGINT, attack.stop)
        return await attack.run(start)

    began, cpu = monotonic(), process_time()
    tally = uvloop.run(attacked())
    return tally, (process_time() - cpu) / (monotonic() - began)
