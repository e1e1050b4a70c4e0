"""How many requests does the controller need until it is as good as the best fixed setting? In simulation.

Four changes: the start, with the curve of the sweep and nothing known of the clients; five times and a fifth of the
load (Poisson, 15 and 75 % of the capacity); a device that becomes half as fast. The oracle is the best fixed setting of
`regret.py` for what is before, and from the very moment of the change that for what is after. Both see the same
requests and the same noise, over several seeds; what is compared is the mean over seeds of each request's latency (in
closed loops, of its latency and think time). Converged: the first request from which both the next 128 and the next
1,024 together are within 10 % of the oracle's.
"""

from __future__ import annotations

import argparse
import multiprocessing
from dataclasses import replace
from random import Random
from statistics import median

import cells
import regret
from harness import HERE, keep

from batcher import loads
from batcher.adaptive import Adaptive
from batcher.decide import Limits
from batcher.simulate import simulate

WITHIN = 1.1
SOON, LONG = 128, 1024
GRID = 16
BEFORE, AFTER = 3000, 3500
"""Requests before a change, and those after it that are looked at."""
ORACLE = 8000
CHANGES = ("start", "load x 5", "load x 0.2", "device x 2 slower")
LOW, HIGH = 0.15, 0.75


class Switch:
    """One fixed setting until a time, another from then on."""

    listens = False
    cut_rows = cells.MOST_ROWS

    def __init__(self, before, after, at):
        self.before, self.after, self.at = before, after, at

    def arrived(self, now, rows, client, key=()):
        pass

    def started(self, now, rows, running):
        pass

    def finished(self, now, rows, seconds, running, clients, key=()):
        pass

    def decide(self, now, rows, oldest, running, key=()):
        return (self.after if now >= self.at else self.before).decide(now, rows, oldest, running)


def scenario(change, number):
    """(name, slots, table, device before, device after, load before, load after, load by seed, time of the change)."""
    random = Random(f"{change} {number}")
    name, table, slots, device = cells.machine(random)
    most = cells.capacity(table, device.slowdown)
    slower = replace(device, seconds=[2 * seconds for seconds in table].__getitem__)
    after = slower if change == "device x 2 slower" else device
    if change.startswith("load"):
        low, high = LOW * most, HIGH * most
        first, second = (low, high) if change == "load x 5" else (high, low)
        at = BEFORE / first
        return (
            f"{name}, poisson",
            slots,
            table,
            (device, after),
            (lambda n, seed: loads.poisson(first, n, seed), lambda n, seed: loads.poisson(second, n, seed)),
            lambda seed: loads.step(first, BEFORE + AFTER + 1000, seed, at, second / first),
            at,
            0.0,
        )
    if random.random() < 0.4:
        clients = random.choice((2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64))
        think = table[1] * 10 ** random.uniform(-2, 0.7)
        spread = random.choice((0.1, 0.3, 1.0))

        def make(n, seed):
            return loads.closed(clients, think, n, seed, spread)

        name += f", {clients} clients think {think * 1e3:.2g} ms (spread {spread})"
        at, think_s = BEFORE / clients * (think + table[min(clients, cells.MOST_ROWS)]), think
    else:
        share = random.choice((0.1, 0.2, 0.3, 0.4) if change != "start" else (0.1, 0.2, 0.3, 0.5, 0.7, 0.8))

        def make(n, seed):
            return loads.poisson(share * most, n, seed)

        name += f", poisson at {share:.0%}"
        at, think_s = BEFORE / (share * most), 0.0
    whole = lambda seed: make(BEFORE + AFTER + 1000, seed)  # noqa: E731
    return name, slots, table, (device, after), (make, make), whole, 0.0 if change == "start" else at, think_s


def oracle(slots, device, make):
    """The best fixed setting for a load that does not change."""
    cell = cells.Cell("poisson or closed", make(ORACLE, 10_007), device, slots, ORACLE)
    return regret.best_of(cell, "mean", regret.fixed(slots))[1]


def adaptive(slots, table, device):
    seed = [(rows, table[rows]) for rows in regret.SWEEP]
    return Adaptive(Limits(cells.MOST_ROWS), slots, seed=seed, slowdown=device.slowdown[1:])


def latencies(load, device, controller, at):
    """Of the first requests that came after the change."""
    outcome = simulate(load, device, controller, (BEFORE if at else 0) + AFTER + 900)
    pairs = sorted(zip(outcome.arrived, outcome.finished, strict=True))
    return [finished - arrived for arrived, finished in pairs if arrived >= at][:AFTER]


def one(task):
    change, number, seeds = task
    name, slots, table, (before, after), (old, new), load, at, think_s = scenario(change, number)
    device = before
    if after is not before:
        device = replace(before, drift=lambda now: 1.0 if now < at else 2.0)
    last = oracle(slots, after, new)
    first = last if not at else oracle(slots, before, old)
    ours, best = [0.0] * AFTER, [0.0] * AFTER
    for seed in range(1, seeds + 1):
        found = latencies(load(seed), device, adaptive(slots, table, before), at)
        ideal = latencies(load(seed), device, Switch(first(), last(), at), at)
        for index in range(min(AFTER, len(found), len(ideal))):
            ours[index] += found[index] + think_s
            best[index] += ideal[index] + think_s
    return {
        "change": change,
        "cell": name,
        "number": number,
        "requests": converged(ours, best),
        "ratios": ratios(ours, best),
    }


def converged(ours, best):
    """Requests, or None if that is not within those that are looked at."""
    for start in range(0, AFTER - LONG + 1, GRID):
        if all(sum(ours[start : start + span]) <= WITHIN * sum(best[start : start + span]) for span in (SOON, LONG)):
            return start
    return None


def ratios(ours, best):
    """By 256 requests."""
    return [
        round(sum(ours[start : start + 256]) / max(sum(best[start : start + 256]), 1e-12), 3)
        for start in range(0, AFTER - 255, 256)
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=30, help="of each change")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--changes", nargs="+", choices=CHANGES, default=CHANGES)
    parser.add_argument("--first", type=int, default=0, help="number of the first cell")
    parser.add_argument("--no-results", action="store_true", help="print only")
    asked = parser.parse_args()
    numbers = range(asked.first, asked.first + asked.cells)
    tasks = [(change, number, asked.seeds) for number in numbers for change in asked.changes]
    with multiprocessing.Pool() as pool:
        rows = pool.map(one, tasks, chunksize=1)
    summary = {}
    print(f"{'requests until within 10 %':28s} {'median':>7s} {'p90':>7s} {'max':>7s} {'over 500':>9s} {'never':>6s}")
    for change in asked.changes:
        found = sorted(AFTER if row["requests"] is None else row["requests"] for row in rows if row["change"] == change)
        p90 = found[max(0, -(-9 * len(found) // 10) - 1)]
        over, never = sum(each > 500 for each in found), sum(each == AFTER for each in found)
        summary[change] = {"median": median(found), "p90": p90, "max": found[-1], "over 500": over, "never": never}
        print(f"{change:28s} {median(found):7g} {p90:7d} {found[-1]:7d} {over:9d} {never:6d}   of {len(found)}")
    print("\nslowest:")
    for row in sorted(rows, key=lambda row: -(AFTER if row["requests"] is None else row["requests"]))[:24]:
        print(f"{row['requests']!s:>6s}  {row['change']} {row['number']}: {row['cell']}\n        {row['ratios']}")
    if not asked.no_results:
        keep(HERE / "results" / "convergence.json", {"seeds": asked.seeds, "summary": summary, "cells": rows})


if __name__ == "__main__":
    main()
