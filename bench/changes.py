"""What does the default lose, or gain, where the load changes every two seconds and a plan takes its time? Simulated.

One core that serves requests and finds plans: a plan takes CPU by the requests that its search runs again, `PLAN_S`
for each, which it gets at the lowest priority: all while nothing runs, a share of `LOWEST` else. The speed of the core
wavers as that of a machine whose neighbours come and go. Models are those of `cells.py`; a cell is five loads one
after another: so many clients that come back some tenths of a millisecond after their answers, or Poisson arrivals.
What is compared is the default with everything at once (a timer of 0 ms), the best of the fixed settings that need no
knowledge of load and model: answers per second of closed loads; mean latency and p99 of open ones. The requests, their
noise and the wavering are the same for both, and all is reproducible: `--seed` gives other cells.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
from bisect import bisect
from functools import partial
from random import Random

import cells
from harness import HERE, keep

from batcher import loads
from batcher.adaptive import Adaptive
from batcher.decide import Limits, WaitUntil
from batcher.forecast import quantile
from batcher.search import search
from batcher.simulate import Device, Load, simulate
from batcher.timer import Timer
from batcher.twin import Twin
from server.pool.planner import Budget

SWEEP = (1, 2, 3, 4, 5, 8, 9, 16, 17, 32, 33, 64)
PLAN_S = 5e-6
"""CPU for each request that is run again: 2 to 3 us where nobody else is, and twice that on a core that is shared."""
LOWEST = 0.015
"""Of the kernel's scheduler: weight 15 of nice 19, against 1,024 of nice 0."""
PHASES, PHASE_S = 5, 2.0
CLIENTS = (1, 2, 4, 8, 16, 32, 64)
SHARES = (0.2, 0.5, 0.8)
FASTEST = 4000.0
"""Rows per second at most, so that a cell takes seconds."""
BATCH_S, ROW_S = 60e-6, 20e-6
"""What the event loop takes."""
THINK_S = 2e-4
"""From an answer to the next request at least, with a client of a fast language on another core."""
SPELL_S = 0.4
"""Mean time for which the core has the same speed. One spell of four is slow."""
GAIN = 1.3
"""More does not count in the mean: everything at once may be as bad as one likes."""


class Planning:
    """A `Planner` whose answers come when the core has had the time. One question is open at most."""

    def __init__(self):
        self.running = self.plans = 0
        self._now, self._job, self._budget = 0.0, None, Budget()

    def __call__(self, picture, settings, found):
        twin = Twin(picture)
        better = search(twin, settings)
        cpu_s = PLAN_S * twin.reran
        begins = self._now + self._budget.wait(0, self._now)
        self._budget.spend(0, self._now, cpu_s)
        self._job = begins, cpu_s, better, found
        self.plans += 1

    def busy(self, now):
        return self._job is not None and now >= self._job[0]

    def tick(self, now):
        before, self._now = self._now, now
        if not self.busy(now):
            return
        begins, left_s, better, found = self._job
        left_s -= (now - max(before, begins)) * (LOWEST if self.running else 1.0)
        self._job = (begins, left_s, better, found) if left_s > 0 else None
        if left_s <= 0:
            found(better)


class Later:
    """A controller in a simulation that begins at 0, on a clock that goes on; plans are found meanwhile."""

    def __init__(self, controller, by, planning):
        self._controller, self._by, self._planning = controller, by, planning
        self.cut_rows = controller.cut_rows

    @property
    def listens(self):
        return self._controller.listens

    def arrived(self, now, *args):
        if self.listens:
            self._controller.arrived(now + self._by, *args)

    def decide(self, now, rows, oldest, *args):
        self._planning.tick(now + self._by)
        verdict = self._controller.decide(now + self._by, rows, oldest + self._by, *args)
        if isinstance(verdict, WaitUntil) and verdict.time < math.inf:
            return WaitUntil(max(now, verdict.time - self._by) + 1e-9)  # later, whatever has been rounded off
        return verdict

    def started(self, now, *args):
        self._planning.tick(now + self._by)
        self._planning.running += 1
        self._controller.started(now + self._by, *args)

    def finished(self, now, *args):
        self._planning.tick(now + self._by)
        self._planning.running -= 1
        self._controller.finished(now + self._by, *args)


def scenario(seed, slow):
    """(name, seconds by rows, factor on them by time, [(clients, 0) or (0, requests per second)])."""
    random = Random(f"changes {seed}")
    name, table = cells.curve(random)
    most = cells.capacity(table, [1.0, 1.0])
    if most > FASTEST:
        table = [seconds * most / FASTEST for seconds in table]
    starts, factors = [0.0], [1.0]
    while starts[-1] < 60 * PHASES:
        starts.append(starts[-1] + random.expovariate(1 / SPELL_S))
        factors.append(random.choice((1.0, 1.0, 1.0, slow)))
    rate = min(most, FASTEST) / (1 + (slow - 1) / 4)
    phases = [
        (random.choice(CLIENTS), 0.0) if random.random() < 0.6 else (0, random.choice(SHARES) * rate)
        for _ in range(PHASES)
    ]
    return name, table, lambda now: factors[bisect(starts, now) - 1], phases


def run(seed, slow, make):
    """([(clients, [answers per second] or [mean latency, p99]) by phase], plans)."""
    _, table, factor, phases = scenario(seed, slow)
    random = Random(f"noise {seed}")
    noise = [random.lognormvariate(0, 0.08) for _ in range(cells.NOISES)]
    planning = Planning()
    controller, by, found = make(table, planning), 0.0, []
    for number, (clients, rate) in enumerate(phases):
        random = Random(f"load {seed} {number}")

        def drift(now, by=by, number=number):
            return factor(now + 13.7 * number) / (1 - LOWEST * planning.busy(now + by))

        device = Device(lambda rows: table[rows] + BATCH_S + ROW_S * rows, (1.0, 1.0), noise, drift)
        if clients:
            spread = [random.expovariate(1 / (1e-4 + 5e-6 * clients)) for _ in range(4001)]
            load = Load(clients=clients, thinks=[THINK_S + each for each in spread])
            fastest = min(cells.capacity(table, [1.0, 1.0]), clients / (table[1] + THINK_S))
            requests = int(fastest * PHASE_S) + clients  # more than there is time for
        else:
            requests = int(rate * PHASE_S)
            load = loads.poisson(rate, requests, seed * 100 + number)
        outcome = simulate(load, device, Later(controller, by, planning), requests)
        planning.running = 0
        if clients:
            found.append((clients, [sum(end <= PHASE_S for end in outcome.finished) / PHASE_S]))
        else:
            latencies = sorted(end - came for came, end in zip(outcome.arrived, outcome.finished, strict=True))
            found.append((clients, [sum(latencies) / requests, quantile(latencies, 0.99)]))
        by += max(PHASE_S, outcome.finished[-1]) + 0.05
    return found, planning.plans


def adaptive(table, planning):
    return Adaptive(Limits(cells.MOST_ROWS), 1, seed=[(rows, table[rows]) for rows in SWEEP], planner=planning)


def at_once(table, planning):
    return Timer(Limits(cells.MOST_ROWS, 0.0))


def one(seed, slow):
    ours, plans = run(seed, slow, adaptive)
    others, _ = run(seed, slow, at_once)
    phases = []
    for (clients, mine), (_, his), (_, rate) in zip(ours, others, scenario(seed, slow)[3], strict=True):
        ratios = [mine[0] / his[0]] if clients else [theirs / each for each, theirs in zip(mine, his, strict=True)]
        phases.append({"clients": clients, "requests/s": rate, "times as good": [round(each, 4) for each in ratios]})
    return {"seed": seed, "model": scenario(seed, slow)[0], "plans": plans, "phases": phases}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cells", type=int, default=80)
    parser.add_argument("--slow", nargs="+", type=float, default=[1.0, 1.5], help="factors of a slow spell")
    parser.add_argument("--only", type=int, help="one cell by its seed")
    parser.add_argument("--no-results", action="store_true", help="print only")
    asked = parser.parse_args()
    seeds = [asked.only] if asked.only is not None else range(asked.seed * 1000, asked.seed * 1000 + asked.cells)
    document = {}
    for slow in asked.slow:
        with multiprocessing.Pool() as pool:
            found = pool.map(partial(one, slow=slow), seeds, chunksize=1)
        document[f"slow spells {slow:g}"] = {"summary": report(slow, found), "cells": found}
    if not asked.no_results and asked.only is None:
        keep(HERE / "results" / "changes.json", {"seed": asked.seed, **document})


def report(slow, found):
    plans = sum(cell["plans"] for cell in found)
    print(f"slow spells take {slow:g} times as long; {plans} plans; times as good as everything at once")
    phases = [phase for cell in found for phase in cell["phases"]]
    summary = {}
    for what, closed, index in (("answers/s", True, 0), ("mean latency", False, 0), ("p99", False, 1)):
        ratios = sorted(each["times as good"][index] for each in phases if bool(each["clients"]) == closed)
        if ratios:
            mean = math.exp(sum(math.log(min(each, GAIN)) for each in ratios) / len(ratios))
            worse = {f"below {bound}": sum(each < bound for each in ratios) for bound in (0.97, 0.9)}
            summary[what] = {"mean": round(mean, 4), "worst": ratios[0], **worse, "of": len(ratios)}
            print(f"  {what:14s} {', '.join(f'{name} {value:g}' for name, value in summary[what].items())}")
    worst = sorted(found, key=lambda cell: min(min(each["times as good"]) for each in cell["phases"]))
    for cell in worst[:5]:
        said = " ".join(
            f"{each['clients'] or format(each['requests/s'], '.0f') + '/s'}: {each['times as good'][0]:.2f}"
            for each in cell["phases"]
        )
        print(f"    seed {cell['seed']} {cell['model']:28s} {said}")
    return summary


if __name__ == "__main__":
    main()
