"""A load from several processes that begin together, as one process has one core; their tallies are added up.

A worker gets every so many-th time of the same schedule, or a share of the connections, so that the whole is what one
process would have sent.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from time import monotonic, process_time
from typing import TypeAlias

import uvloop

from loadtest.attack import Attack, Course
from loadtest.load import Load
from loadtest.shot import Shots
from loadtest.tally import ClosedWindow, Tally, Told
from loadtest.where import Where

SOON_S = 0.05
"""From when all are ready until they begin."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be done, by all workers together."""

    where: Where
    shots: Shots
    course: Course
    load: Load


Done: TypeAlias = tuple[Tally, float]
"""What became of the requests, and the share of a core that the busiest process needed."""


def run(job: Job, workers: int = 1, told: Told | None = None) -> Done:
    """Raises OSError if the server cannot be reached. `told` hears of the windows of all workers.

    SIGINT ends the load early; what came until then counts.
    """
    workers = max(1, min(workers, job.load.connections))
    if workers == 1:
        return _work(job, 0, 1, 0.0, told)
    spawn = multiprocessing.get_context("spawn")
    pipes = [spawn.Pipe() for _ in range(workers)]
    processes = [
        spawn.Process(target=_child, args=(theirs, job, worker, workers), daemon=True)
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
        return _sum(_answers([mine for mine, _ in pipes], told))
    finally:
        for process in processes:
            process.terminate()
            process.join()
        signal.signal(signal.SIGINT, interrupt)


def _answers(pipes: list[Connection], told: Told | None) -> Iterator[Done]:
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
            elif told is not None:
                told(message)


def _sum(answers: Iterator[Done]) -> Done:
    whole, busy = next(answers)
    for tally, each in answers:
        whole.add(tally)
        busy = max(busy, each)
    return whole, busy


def _child(pipe: Connection, job: Job, worker: int, workers: int) -> None:
    pipe.send(None)
    try:
        pipe.send(_work(job, worker, workers, pipe.recv(), pipe.send))
    except OSError as error:
        pipe.send(error)


def _work(job: Job, worker: int, workers: int, start: float, told: Told | None) -> Done:
    load, times = job.load.share(worker, workers, job.course.warm_up_s)

    async def attacked() -> Tally:
        attack = Attack(job.where.opener(), job.shots, job.course, load.connections, times, told)
        loop = asyncio.get_running_loop()
        if threading.current_thread() is threading.main_thread():
            loop.add_signal_handler(signal.SIGINT, attack.stop)
        return await attack.run(start)

    began, cpu = monotonic(), process_time()
    tally = uvloop.run(attacked())
    return tally, (process_time() - cpu) / (monotonic() - began)
