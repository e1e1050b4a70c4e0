"""What does a plan cost? Seconds of CPU of each search that the controller asks for, over the cells of `cells.py`.

In simulation: each cell is run as in `regret.py`, and the searches are timed. Absolute numbers are those of this
machine, and of its neighbours: to compare two versions run both in turns, on the same seeds.
"""

from __future__ import annotations

import argparse
import time

import cells
import regret
from harness import HERE, keep

from batcher.adaptive import Adaptive
from batcher.decide import Limits
from batcher.forecast import quantile
from batcher.search import search
from batcher.simulate import simulate
from batcher.twin import Twin

SHARES = {"median": 0.5, "p90": 0.9, "max": 1.0}


def one(seed, requests):
    """(name, milliseconds of each plan, settings tried by each)."""
    cell = cells.cell(seed, requests)
    took_ms, tried = [], []

    def planner(picture, settings, found):
        began = time.process_time()
        twin = Twin(picture)
        better = search(twin, settings)
        took_ms.append((time.process_time() - began) * 1e3)
        tried.append(len(twin.tried))
        found(better)

    known = [(rows, cell.device.seconds(rows)) for rows in regret.SWEEP]
    slowdown = cell.device.slowdown[1:]
    controller = Adaptive(Limits(cells.MOST_ROWS), cell.slots, seed=known, slowdown=slowdown, planner=planner)
    simulate(cell.load, cell.device, controller, requests)
    return cell.name, took_ms, tried


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cells", type=int, default=40)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--no-results", action="store_true", help="print only")
    asked = parser.parse_args()
    found = [one(seed, asked.requests) for seed in range(asked.seed * 1_000_000, asked.seed * 1_000_000 + asked.cells)]
    took_ms = sorted(each for _, plans, _ in found for each in plans)
    tried = sorted(each for _, _, plans in found for each in plans)
    summary = {name: quantile(took_ms, share) for name, share in SHARES.items()}
    print(f"{len(took_ms)} plans of {len(found)} cells: ms of CPU", end="")
    print("".join(f", {name} {ms:.1f}" for name, ms in summary.items()), end="")
    print(f"; settings tried, median {quantile(tried, 0.5)}, p90 {quantile(tried, 0.9)}")
    print("\ndearest:")
    for name, plans, _ in sorted(found, key=lambda cell: -max(cell[1], default=0.0))[:12]:
        print(f"{max(plans, default=0.0):8.1f} ms  {len(plans):3d} plans  {name}")
    if not asked.no_results:
        rows = [
            {"cell": name, "plan_ms": [round(ms, 2) for ms in plans], "tried": tried} for name, plans, tried in found
        ]
        keep(HERE / "results" / "planning.json", {"seed": asked.seed, "summary_ms": summary, "cells": rows})


if __name__ == "__main__":
    main()
