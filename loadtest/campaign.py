"""Runs one after the other: one load, a sweep over several, or the search for the highest rate that holds.

Each is a list of findings in the order of the runs. `once` makes a run of a load; `told` hears of each run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from loadtest.criteria import Criterion
from loadtest.findings import Findings, findings
from loadtest.highest import Highest
from loadtest.load import Load, with_rate
from loadtest.observed import Observer, between
from loadtest.tally import Told as WindowTold
from loadtest.workers import Job, run

Once: TypeAlias = Callable[[Load], Findings]
Told: TypeAlias = Callable[[Findings], None]

ENOUGH = 0.95
"""The knee of a sweep is the first load that reaches this share of the most answers per second."""


def one(
    job: Job, workers: int, load: Load, observer: Observer | None = None, watch: WindowTold | None = None
) -> Findings:
    """A single run. `watch` hears of its windows as they pass, `observer` knows what the server says of it."""
    before = observer.look() if observer else None
    tally, cpu = run(job, load, workers, watch)
    found = findings(tally, str(load), cpu, bound=load.is_open, precision=job.course.precision)
    return found | {"server": between(before, observer.look()) if observer and before else {}}


def sweep(once: Once, loads: Iterable[Load], told: Told) -> list[Findings]:
    """A run for each load."""
    found = []
    for load in loads:
        found.append(once(load))
        told(found[-1])
    return found


def knee(found: Sequence[Findings]) -> Findings:
    """Where more load brings little more than more waiting."""
    most = max(each["per_s"] for each in found)
    return next(each for each in found if each["per_s"] >= ENOUGH * most)


def versus(first: Once, second: Once, load: Load, rounds: int) -> tuple[list[Findings], list[Findings]]:
    """Short runs of both in the order ABBA, so that what drifts meets both alike."""
    found: tuple[list[Findings], list[Findings]] = ([], [])
    for number in range(rounds):
        order = ((0, first), (1, second))
        for which, once in order if number % 2 == 0 else reversed(order):
            found[which].append(once(load))
    return found


class Unsound(Exception):
    """The generator, not the server, was the limit."""


def find_max(
    once: Once, load: Load, criteria: Sequence[Criterion], told: Told, precision: float = 0.05
) -> tuple[float | None, list[Findings]]:
    """The highest rate at which all criteria hold, None if none does; begins with the load's own.

    Raises Unsound where a run that did not hold says more of this process than of the server.
    """
    search, found = Highest(load.rate, precision), []
    while (rate := search.propose()) is not None:
        result = once(with_rate(load, rate))
        found.append(result)
        told(result)
        held = all(criterion.holds(result) for criterion in criteria)
        if not held and result["generator"]["doubts"]:
            raise Unsound(f"at {rate:,.0f} requests/s {result['generator']['doubts'][0]}")
        search.ran(rate, held=held)
    return search.best, found
