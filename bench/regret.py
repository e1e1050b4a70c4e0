"""Is one controller without settings as good as the best fixed setting of each cell? In simulation, far faster than
a real server, and with the code that the server runs.

Regret of a cell = metric / that of the best of all fixed settings (8 delays x 7 sizes x up to 3 batches in flight) - 1,
for the mean latency of open loads, and for the time per request of closed ones; with `--objective`, for what it names:
the 99th percentile, requests by those that are within the SLO, or device seconds per request (of settings that have
99 of 100 within the SLO; who has less pays for it). The SLO is that of `slo_s`. All policies see the same requests and
the same noise; the first fifth does not count. The best fixed setting is found in rounds: all of them on an eighth of
the requests, the better ones on half, the best eight on all; where the load changes, all of them on all: its beginning
says nothing of the rest. Cells are random: another `--seed` gives others.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import time
from functools import partial

import cells
import optimum
import rivals
from harness import HERE, keep

from batcher.adaptive import Adaptive
from batcher.decide import Limits
from batcher.forecast import quantile
from batcher.simulate import simulate
from batcher.sizes import best_rows

SWEEP = (1, 2, 3, 4, 5, 8, 9, 16, 17, 32, 33, 64)
COLD = 0.2
"""Share of the requests that do not count."""


def slo_s(cell):
    """Four batches of the best size."""
    table = [0.0, *(cell.device.seconds(rows) for rows in range(1, cells.MOST_ROWS + 1))]
    return 4 * table[best_rows(table)]


def adaptive(cell, objective="mean"):
    seed = [(rows, cell.device.seconds(rows)) for rows in SWEEP]
    wish = {"objective": objective, "slo_s": slo_s(cell)}
    return Adaptive(Limits(cells.MOST_ROWS), cell.slots, seed=seed, slowdown=cell.device.slowdown[1:], **wish)


def cost(cell, objective, controller, requests):
    """Seconds: the mean latency, or for closed loads the time per request; or what another objective asks for."""
    outcome = simulate(cell.load, cell.device, controller, requests)
    cold = int(len(outcome.finished) * COLD)
    if objective == "mean" and cell.closed:
        return (outcome.finished[-1] - outcome.finished[cold]) / (len(outcome.finished) - cold - 1)
    pairs = zip(outcome.finished[cold:], outcome.arrived[cold:], strict=True)
    latencies = sorted(finished - arrived for finished, arrived in pairs)
    if objective == "mean":
        return sum(latencies) / len(latencies)
    if objective == "p99":
        return quantile(latencies, 0.99)
    late = sum(latency > slo_s(cell) for latency in latencies) / len(latencies)
    if objective == "goodput":
        return 1 / (1 - late) if late < 1 else math.inf
    return outcome.device_s / len(outcome.finished) * (1 + 100 * max(0.0, late - 0.01))


def best_of(cell, objective, makers):
    """(cost, maker) of the best of many controllers, in rounds."""
    left = list(makers)
    for share, kept in ((8, 24), (2, 8), (1, 1)) if cell.stationary else ((1, 1),):
        if len(left) > kept:
            timed = [(cost(cell, objective, make(), cell.requests // share), index) for index, make in enumerate(left)]
            left = [left[index] for _, index in sorted(timed)[:kept]]
    return cost(cell, objective, left[0](), cell.requests), left[0]


def fixed(slots):
    return [lambda s=setting: rivals.timer(*s) for setting in rivals.settings(slots)]


def one(task):
    seed, requests, with_rivals, objective = task
    cell = cells.cell(seed, requests)
    costs = partial(cost, cell, objective)
    best, _ = best_of(cell, objective, fixed(cell.slots))
    started = time.perf_counter()
    ours = adaptive(cell, objective)
    mine = costs(ours, requests)
    found = {"adaptive": mine / best - 1}
    took = time.perf_counter() - started
    if with_rivals:
        for name, make in rivals.defaults(cell.slots).items():
            found[name] = costs(make(), requests) / best - 1
        for name, makers in rivals.tuned(cell.slots).items():
            found[name] = best_of(cell, objective, makers)[0] / best - 1
    bound = None
    if "poisson" in cell.name and cell.slots == 1 and cell.open_rate and objective == "mean":
        bound = mine / optimum.least_mean_latency(cell.device.seconds, cell.open_rate) - 1
    settings = ours.settings
    return {
        "seed": seed,
        "cell": cell.name,
        "closed": cell.closed,
        "best_ms": best * 1e3,
        "regret": found,
        "settings": str(settings),
        "took_s": took,
        "over_optimum": bound,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cells", type=int, default=120)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--objective", choices=("mean", "p99", "goodput", "device_time"), default="mean")
    parser.add_argument("--only", type=int, help="one cell by its seed")
    parser.add_argument("--no-rivals", action="store_true")
    parser.add_argument("--no-results", action="store_true", help="print only")
    asked = parser.parse_args()
    seeds = (
        [asked.only] if asked.only is not None else range(asked.seed * 1_000_000, asked.seed * 1_000_000 + asked.cells)
    )
    tasks = [(seed, asked.requests, not asked.no_rivals, asked.objective) for seed in seeds]
    with multiprocessing.Pool() as pool:
        rows = sorted(pool.imap_unordered(one, tasks), key=lambda row: -row["regret"]["adaptive"])
    report(rows)
    if not asked.no_results:
        name = "regret" if asked.objective == "mean" else f"regret-{asked.objective}"
        keep(HERE / "results" / f"{name}.json", {"seed": asked.seed, "requests": asked.requests, "cells": rows})


def report(rows):
    print(f"{'policy':32s} {'max':>8s} {'mean':>8s} {'over 5 %':>9s}   of {len(rows)} cells")
    for name in rows[0]["regret"]:
        regrets = [row["regret"][name] for row in rows]
        mean, over = sum(regrets) / len(regrets), sum(regret > 0.05 for regret in regrets)
        print(f"{name:32s} {max(regrets):8.1%} {mean:8.2%} {over:9d}")
    bounds = [row["over_optimum"] for row in rows if row["over_optimum"] is not None]
    if bounds:
        mean = sum(bounds) / len(bounds)
        print(
            f"over the least mean latency of any policy, {len(bounds)} cells: mean {mean:.1%}, most {max(bounds):.1%}"
        )
    print("\nworst cells of the adaptive one:")
    for row in rows[:12]:
        print(f"{row['regret']['adaptive']:+7.1%}  {row['best_ms']:9.3f} ms  seed {row['seed']}  {row['cell']}")
        print(f"          {row['settings']}")


if __name__ == "__main__":
    main()
