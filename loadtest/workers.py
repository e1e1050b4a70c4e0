"""A load from several processes that begin together, as one process has one core; their tallies are added up.

A worker gets every so many-th time of the same schedule, or a share of the connections, so that the whole is what one
process would have sent.
"""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass
from multiprocessing.connection import Connection
from time import monotonic, process_time
from typing import TypeAlias

import uvloop

from loadtest.attack import Attack, Course, Where
from loadtest.load import Load
from loadtest.shot import Shots
from loadtest.tally import Tally

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


def run(job: Job, workers: int = 1) -> Done:
    """Raises OSError if the server cannot be reached."""
    workers = max(1, min(workers, job.load.connections))
    if workers == 1:
        return _work(job, 0, 1, 0.0)
    spawn = multiprocessing.get_context("spawn")
    pipes = [spawn.Pipe() for _ in range(workers)]
    processes = [
        spawn.Process(target=_child, args=(pipe, job, worker, workers), daemon=True)
        for worker, (_, pipe) in enumerate(pipes)
    ]
    try:
        for process in processes:
            process.start()
        for mine, theirs in pipes:
            theirs.close()
            mine.recv()
        start = monotonic() + SOON_S
        for mine, _ in pipes:
            mine.send(start)
        return _sum([mine.recv() for mine, _ in pipes])
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _sum(answers: list[Done | OSError]) -> Done:
    done: list[Done] = []
    for answer in answers:
        if isinstance(answer, OSError):
            raise answer
        done.append(answer)
    (whole, busy), *others = done
    for tally, each in others:
        whole.add(tally)
        busy = max(busy, each)
    return whole, busy


def _child(pipe: Connection, job: Job, worker: int, workers: int) -> None:
    pipe.send(None)
    try:
        pipe.send(_work(job, worker, workers, pipe.recv()))
    except OSError as error:
        pipe.send(error)


def _work(job: Job, worker: int, workers: int, start: float) -> Done:
    load, times = job.load.share(worker, workers)
    began, cpu = monotonic(), process_time()
    tally = uvloop.run(Attack(job.where, job.shots, job.course, load.connections, times).run(start))
    return tally, (process_time() - cpu) / (monotonic() - began)
