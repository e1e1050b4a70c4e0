"""Runs one after the other: one load, a sweep over several, or the search for the highest rate that holds.

Each is a list of findings in the order of the runs. `told` hears of each when it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeAlias

from loadtest.criteria import Criterion
from loadtest.findings import Findings, findings
from loadtest.highest import Highest
from loadtest.load import Load, with_rate
from loadtest.tally import Told as WindowTold
from loadtest.workers import Job, run

Told: TypeAlias = Callable[[Findings], None]

ENOUGH = 0.95
"""The knee of a sweep is the first load that reaches this share of the most answers per second."""


def one(job: Job, workers: int, watch: WindowTold | None = None) -> Findings:
    """A single run. `watch` hears of its windows as they pass."""
    tally, cpu = run(job, workers, watch)
    return findings(tally, str(job.load), cpu, bound=job.load.is_open)


def sweep(job: Job, workers: int, loads: Iterable[Load], told: Told) -> list[Findings]:
    """A run for each load."""
    found = []
    for load in loads:
        found.append(one(replace(job, load=load), workers))
        told(found[-1])
    return found


def knee(found: Sequence[Findings]) -> Findings:
    """Where more load brings little more than more waiting."""
    most = max(each["per_s"] for each in found)
    return next(each for each in found if each["per_s"] >= ENOUGH * most)


def versus(first: Job, second: Job, workers: int, rounds: int) -> tuple[list[Findings], list[Findings]]:
    """Short runs of both in the order ABBA, so that what drifts meets both alike."""
    found: tuple[list[Findings], list[Findings]] = ([], [])
    for number in range(rounds):
        order = ((0, first), (1, second))
        for which, job in order if number % 2 == 0 else reversed(order):
            found[which].append(one(job, workers))
    return found


class Unsound(Exception):
    """The generator, not the server, was the limit."""


def find_max(
    job: Job, workers: int, criteria: Sequence[Criterion], told: Told, precision: float = 0.05
) -> tuple[float | None, list[Findings]]:
    """The highest rate at which all criteria hold, None if none does; begins with the load's own.

    Raises Unsound where a run that did not hold says more of this process than of the server.
    """
    search, found = Highest(job.load.rate, precision), []
    while (rate := search.propose()) is not None:
        result = one(replace(job, load=with_rate(job.load, rate)), workers)
        found.append(result)
        told(result)
        held = all(criterion.holds(result) for criterion in criteria)
        if not held and result["generator"]["doubts"]:
            raise Unsound(f"at {rate:,.0f} requests/s {result['generator']['doubts'][0]}")
        search.ran(rate, held=held)
    return search.best, found
