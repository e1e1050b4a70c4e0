"""The default configuration against fixed settings of the same server, in closed and open loops of four models.

One server has every setting as a model of its own, so that which setting is measured is a matter of the URL. First the
whole grid is visited once per cell; then, per cell, the default and the best of the grid in short turns, once the
default had its time to learn the load. An open loop's rate is a share of the most answers/s that any setting gave in a
closed loop. Writes `results/adaptive.json`.
"""

import gc
import itertools
import math
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import compare
import harness
import load
import neighbours
import numpy as np
import uvloop
import yaml
from workloads import ON_GPU, WORKLOADS

from headrace.batching import BatchingLimits

HTTP, GRPC = 9103, 9104
CONNECTIONS = (1, 4, 16, 64)
SHARES = (0.2, 0.5, 0.8)
WARM_UP_S = 0.1
"""Of a visit that does not count."""
DEFAULT = "default"
ALL = WORKLOADS | ON_GPU
TF32 = 0.02
"""How far, as a share of the largest number, an answer of a GPU is from that of a CPU."""


@dataclass(frozen=True)
class Cell:
    """One model under one load: `connections` in a closed loop, or a `share` of the capacity in an open one."""

    model: str
    connections: int | None = None
    share: float | None = None

    def __str__(self):
        return f"{self.model} " + (f"x {self.connections}" if self.connections else f"{self.share:.0%}")

    @property
    def metric(self):
        if self.connections:
            return compare.THROUGHPUT
        return compare.P99_BAR if self.share == 0.5 else compare.P99


def main():
    given = options()
    os.sched_setaffinity(0, {int(harness.LOAD_CORE)})
    started, quiet = time.monotonic(), neighbours.Neighbours(given.patience)
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder) / "models"
        settings = grid(given)
        for model in given.models:
            make_model(repository, model, settings)
        server = [*harness.serve(repository, HTTP, GRPC), "--keep-alive-s", "3600"]
        with harness.running(server):
            harness.wait_until_ready(HTTP, 180)
            for model in given.models:
                x = ALL[model].requests()[0]
                harness.check(HTTP, model, x, ALL[model].datatype, repository / model / "1" / "model.onnx", TF32)
            gc.disable()  # a collection here would be the server's p99
            capacity, first, visits, plans = uvloop.run(measure(given, list(settings), quiet))
    findings = [judge(cell, visits[cell]) | {"plans": plans[cell]} for cell in visits]
    show(findings, capacity, given, time.monotonic() - started)
    if not given.no_results:
        keep(findings, capacity, first, settings, given, quiet)


def options():
    parser = harness.parser(__doc__, rounds=10, seconds=0.5)
    parser.add_argument("--models", nargs="+", choices=ALL, default=list(WORKLOADS))
    parser.add_argument("--delays", nargs="+", type=float, default=[0, 1, 5], help="max_queue_delay_ms of the grid")
    parser.add_argument("--rows", nargs="+", type=int, default=[1, 8, 64], help="max_batch_rows of the grid")
    parser.add_argument("--instances", nargs="+", type=int, default=[1, 2], help="instances.count of the grid")
    parser.add_argument("--runs", nargs="+", type=int, default=[1], help="instances.runs of the grid")
    parser.add_argument("--finalists", type=int, default=3, help="fixed settings of a cell in the interleaved rounds")
    parser.add_argument("--also", nargs="*", default=["T0-B64-K1"], help="fixed settings that are always among them")
    parser.add_argument("--settle", type=float, default=2.0, help="seconds of a load before the default is measured")
    parser.add_argument("--results", default="adaptive", help="name of the file in results/")
    parser.add_argument("--quick", action="store_true", help="two minutes: a small grid, short visits, one round")
    neighbours.option(parser)
    given = parser.parse_args()
    if given.quick:
        given.rounds, given.seconds, given.finalists = 3, 0.3, 1
        given.delays, given.rows, given.instances, given.no_results = [0, 1], [64], [1], True
    return given


def grid(given):
    """name -> `config.yaml`. A batch of one row waits for nobody, so there one delay is enough."""
    fixed = {"controller": "timer"} if "controller" in BatchingLimits.model_fields else {}
    settings = {DEFAULT: None}
    for delay, rows, count, runs in itertools.product(given.delays, given.rows, given.instances, given.runs):
        if rows > 1 or delay == given.delays[0]:
            batching = fixed | {"max_queue_delay_ms": delay, "max_batch_rows": rows}
            name = f"T{delay:g}-B{rows}-K{count}" + (f"x{runs}" if runs > 1 else "")
            settings[name] = {"batching": batching, "instances": {"count": count, "runs": runs}}
    return settings


def served_as(model, setting):
    return model if setting == DEFAULT else f"{model}-{setting}"


def make_model(repository, model, settings):
    made = repository / model / "1" / "model.onnx"
    ALL[model].make(made)
    for setting, config in settings.items():
        if config:
            file = repository / served_as(model, setting) / "1" / "model.onnx"
            file.parent.mkdir(parents=True)
            file.hardlink_to(made)
            (file.parents[1] / "config.yaml").write_text(yaml.safe_dump(config))


async def measure(given, settings, quiet):
    """Of each model the capacity, and of each cell the grid's visits, those of the finalists, both by setting, and the
    plans of the default after its own."""
    client = load.Client(HTTP)
    capacity, plans = {}, {}

    async def visit(cell, setting, seed, warm_up=WARM_UP_S):
        requests = requests_to(served_as(cell.model, setting), ALL[cell.model])
        for _ in quiet.again():
            if cell.connections:
                seen = await client.closed(requests, cell.connections, warm_up, given.seconds)
            else:
                rate = cell.share * capacity[cell.model]
                seen = await client.open(requests, rate, warm_up, given.seconds, seed)
        return seen

    async def whole_grid(cells):
        for cell in cells:
            first[cell] = {setting: [await visit(cell, setting, 0)] for setting in settings}

    first = {}
    for model in given.models:
        closed = [Cell(model, connections=count) for count in CONNECTIONS]
        await whole_grid(closed)
        capacity[model] = max(seen.throughput for cell in closed for (seen,) in first[cell].values())
        await whole_grid([Cell(model, share=share) for share in SHARES])
        print(f"{model}: the grid is visited, {quiet}", flush=True)
    visits = {cell: {setting: [] for setting in finalists(cell, first[cell], given)} for cell in first}
    for cell, by_setting in visits.items():
        await visit(cell, DEFAULT, 0, given.settle)
        for number in range(given.rounds):
            for setting in reversed(by_setting) if number % 2 else by_setting:
                by_setting[setting].append(await visit(cell, setting, number))  # the same arrivals for all
            plans.setdefault(cell, []).append(harness.get(HTTP, f"/v2/models/{cell.model}/batcher")["plan"])
        print(f"{cell} is done, {quiet}", flush=True)
    return capacity, first, visits, plans


def requests_to(name, work):
    return [load.http_request(name, *harness.binary_request(x, work.datatype)) for x in work.requests()]


def finalists(cell, by_setting, given):
    """The default, the best others of one visit each, and those that are always among them."""
    others = {setting: seen for setting, seen in by_setting.items() if setting != DEFAULT}
    also = [setting for setting in given.also if setting in others]
    return list(dict.fromkeys([DEFAULT, *cell.metric.rank(others)[: given.finalists], *also]))


def judge(cell, by_setting):
    metric, visits = cell.metric, by_setting[DEFAULT]
    best = metric.rank({setting: each for setting, each in by_setting.items() if setting != DEFAULT})[0]
    ratio, low, high = metric.ratio(visits, by_setting[best])
    return {
        "cell": str(cell),
        "metric": metric.name,
        "default": metric.all(visits),
        "best": metric.all(by_setting[best]),
        "best setting": best,
        "default / best": ratio,
        "95 %": [low, high],
        "default / best of other rounds": metric.crossed(by_setting, DEFAULT),
        "bar": metric.bar,
        "verdict": metric.verdict(ratio, low, high),
        "times worse": metric.loss(ratio),
        "p50 ms of the default": float(np.median(np.concatenate([seen.latencies for seen in visits]))) * 1e3,
        "client busy": float(np.median([seen.busy for seen in visits])),
        "client late ms (p99)": float(np.median([seen.late for seen in visits])) * 1e3,
        "visits": {setting: [metric.one(seen) for seen in each] for setting, each in by_setting.items()},
    }


def show(findings, capacity, given, took):
    print(
        f"{given.rounds} rounds of visits of {given.seconds:g} s in {took / 60:.1f} min, for the default and the"
        f" {given.finalists} best of the whole grid in a first visit.\n"
        f"Capacity, answers/s: {', '.join(f'{model} {rate:,.0f}' for model, rate in capacity.items())}\n\n"
        f"{'cell':14} {'':10} {'default':>10} {'best fixed':>10} {'':12} default / best      95 %       of others  bar"
    )
    for each in findings:
        low, high = each["95 %"]
        print(
            f"{each['cell']:14} {each['metric']:10} {each['default']:10.5g} {each['best']:10.5g}"
            f" {each['best setting']:12} {each['default / best']:10.3f}   {low:7.3f} .. {high:<7.3f}"
            f" {each['default / best of other rounds']:9.3f}  {each['verdict']}"
        )
    print("\nworst:")
    for each in sorted(findings, key=lambda each: each["times worse"], reverse=True)[:6]:
        print(
            f"{each['cell']:14} {each['metric']:10} {each['times worse']:.2f} times worse than {each['best setting']}"
        )


def keep(findings, capacity, first, settings, given, quiet):
    grid_values = {
        str(cell): {setting: cell.metric.one(seen) for setting, (seen,) in by_setting.items()}
        for cell, by_setting in first.items()
    }
    document = {
        "seconds per visit": given.seconds,
        "seconds to settle, of the default": given.settle,
        "rounds": given.rounds,
        "visits": {"all": quiet.measured, "disturbed by others on the machine": quiet.disturbed},
        "capacity": capacity,
        "settings": settings,
        "cells": findings,
        "grid, one visit": grid_values,
    }
    harness.keep(harness.HERE / "results" / f"{given.results}.json", rounded(document))


def rounded(found):
    """Four digits, and null for what has no end."""
    if isinstance(found, dict):
        return {key: rounded(each) for key, each in found.items()}
    if isinstance(found, list):
        return [rounded(each) for each in found]
    if isinstance(found, float):
        return float(f"{found:.4g}") if math.isfinite(found) else None
    return found


if __name__ == "__main__":
    main()
