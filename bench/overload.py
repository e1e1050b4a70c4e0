"""How much is delivered in time when more comes than can be served: goodput as a share of the capacity.

In simulation (the code of the server, in virtual time): three curves, three SLOs in batches of the best size, loads
from 0.9 to 5 times the capacity, Poisson arrivals, times with 5 % of noise. `--real`: a real server on one core, the
load in open loop from the other, latencies from the intended times; each request carries the SLO as its timeout.
Beside it what other servers do: nothing, and dropping what has expired. Writes `results/overload.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import multiprocessing
import os
import tempfile
import urllib.request
from dataclasses import replace
from pathlib import Path
from random import Random

import cells
import harness
import load
import neighbours
import numpy as np
import uvloop
from workloads import WORKLOADS

from batcher import loads
from batcher.adaptive import Adaptive
from batcher.decide import Limits
from batcher.outlook import Outlook
from batcher.simulate import Device, simulate
from batcher.sizes import best_rows

HTTP, GRPC = 9105, 9106
LOADS = (0.9, 1.1, 2.0, 5.0)
SLOS = (2.5, 5.0, 10.0)
SWEEP = (1, 2, 3, 4, 5, 8, 9, 16, 17, 32, 33, 64)
BATCHES = 200
"""That the device runs in a simulated cell."""
COLD = 0.2
"""Share of a simulation that does not count."""
POLICIES = ("foretold", "expired leave", "none")
CONNECTIONS = 64
"""Of the closed loop that measures the capacity."""


# -- in simulation -----------------------------------------------------------------------------------------------------


def curves():
    """name -> seconds by rows."""
    known = json.loads(cells.CURVES.read_text())["seconds by rows"]["1 thread"]
    found = {
        "affine": [0.004 + 0.0005 * rows for rows in range(cells.MOST_ROWS + 1)],
        "stepped": [0.004 + 0.001 * cells._power(rows) for rows in range(cells.MOST_ROWS + 1)],
    }
    points = sorted((int(rows), seconds) for rows, seconds in known["encoder 32"].items())
    found["encoder 32"] = [0.0] + [cells._between(points, rows) for rows in range(1, cells.MOST_ROWS + 1)]
    return found


class Expiring(Outlook):
    """Foretells nothing: who is late when a batch is formed leaves, as in other servers."""

    def late_by(self, now, ahead, rows, due):
        return 0.0

    def form(self, now, take, waiting, front):
        leave = 0
        for due, _ in front:
            if due > now:
                break
            leave += 1
        return take, leave


def one(task):
    curve, slo, share, policy, noise, seed = task
    table = curves()[curve]
    best = best_rows(table)
    slo_s, capacity = slo * table[best], best / table[best]
    requests = int(BATCHES * best * max(1.0, share))
    random = Random(seed)
    device = Device(table.__getitem__, (1.0, 1.0), [random.lognormvariate(0, noise) for _ in range(cells.NOISES)])
    arrivals = replace(loads.poisson(share * capacity, requests, seed), timeouts=(slo_s,))
    controller = Adaptive(Limits(cells.MOST_ROWS), seed=[(rows, table[rows]) for rows in SWEEP])
    kinds = {"foretold": Outlook, "expired leave": Expiring}
    outlook = kinds[policy](controller, cells.MOST_ROWS) if policy in kinds else None
    outcome = simulate(arrivals, device, controller, requests, outlook=outlook)
    begin, end = COLD * arrivals.opens[-1], arrivals.opens[-1]
    ends = [(came, done) for came, done in zip(outcome.arrived, outcome.finished, strict=True) if begin <= done < end]
    offered = sum(begin <= came < end for came in arrivals.opens)
    in_time = sum(done - came <= slo_s for came, done in ends)
    return {
        "curve": curve,
        "slo": slo,
        "load": share,
        "policy": policy,
        "noise": noise,
        "goodput": in_time / min(offered, capacity * (end - begin)),
        "late": (len(ends) - in_time) / offered,
        "left late": sum(begin <= came < end for came in outcome.left) / offered,
        "refused": sum(begin <= came < end for came in outcome.refused) / offered,
        "rows per batch": sum(outcome.batches) / len(outcome.batches),
    }


def simulated(given):
    tasks = [
        (curve, slo, share, policy, given.noise, seed)
        for curve in curves()
        for slo in given.slos
        for share in LOADS
        for policy in POLICIES
        for seed in given.seeds
        if policy == POLICIES[0] or (slo, seed) == (given.slos[len(given.slos) // 2], given.seeds[0])
    ]
    with multiprocessing.Pool(given.processes) as pool:
        rows = pool.map(one, tasks, chunksize=1)
    print(
        f"\nin simulation, {given.noise:.0%} noise: goodput by the load (of what is offered, or the capacity if less)"
    )
    print(f"{'curve':12}{'SLO':>6} {'policy':14}" + "".join(f"{share:>9}x" for share in LOADS) + "   refused at 0.9x")
    for curve in curves():
        for slo in given.slos:
            for policy in POLICIES:
                cell = [row for row in rows if (row["curve"], row["slo"], row["policy"]) == (curve, slo, policy)]
                if not cell:
                    continue
                mean = {share: _mean(row["goodput"] for row in cell if row["load"] == share) for share in LOADS}
                refused = _mean(row["refused"] + row["left late"] for row in cell if row["load"] == LOADS[0])
                values = "".join(f"{mean[share]:10.1%}" for share in LOADS)
                print(f"{curve:12}{slo:6} {policy:14}{values}{refused:18.2%}")
    ours = [row["goodput"] for row in rows if row["policy"] == POLICIES[0] and row["load"] > 1]
    print(f"foretold, above the capacity: least {min(ours):.1%}, mean {_mean(ours):.1%} of {len(ours)} runs")
    return rows


def _mean(values):
    values = list(values)
    return sum(values) / len(values)


# -- on a real server --------------------------------------------------------------------------------------------------


class Tolerant(load.Connection):
    """One that takes refusals: `status` is that of the last answer."""

    def data_received(self, data):
        if not self._missing:
            end = data.find(b"\r\n\r\n") + 4
            at = data.find(b"\r\ncontent-length: ", 0, end) + 18
            self.status = int(data[9:12])
            self._missing = end + int(data[at : data.find(b"\r", at)])
        self._missing -= len(data)
        if not self._missing:
            self.load.answered(self, load.time.perf_counter())


class Overload(load.OpenLoop):
    """Seen: (intended, answered, status) of each request."""

    def _note(self, connection, now):
        self._running -= 1
        self._intended.append(connection.intended)
        self._answered.append((now, connection.status))

    def _seen(self, intended, answered, busy):
        counted = intended >= self._from
        times, status = answered[counted, 0], answered[counted, 1]
        late = float(np.quantile(self._late, 0.99))
        return intended[counted], times, status, self._never, late


async def tolerant_connections(port, count):
    loop = asyncio.get_running_loop()
    return [(await loop.create_connection(Tolerant, "127.0.0.1", port))[1] for _ in range(count)]


async def measure(given, name, quiet):
    work = WORKLOADS[name]
    row = (given.tokens,) if name == "encoder" else work.rows[0]
    body, headers = harness.binary_request(work.inputs(1, row), work.datatype)
    plain = load.http_request(name, body, headers)
    client, connections = load.Client(HTTP), await tolerant_connections(HTTP, load.MOST_CONNECTIONS)
    await client.closed([plain], CONNECTIONS, 2.0, given.seconds)

    async def most():
        return (await client.closed([plain], CONNECTIONS, 0.5, given.seconds / 2)).throughput

    found = []
    for number in range(given.rounds):
        capacity = await most()
        full_s = CONNECTIONS / 2 / capacity if given.full_rows is None else given.full_rows / capacity
        for slo in given.slos:
            slo_s = slo * full_s
            timed = load.http_request(name, body, headers | {"headrace-timeout-ms": f"{slo_s * 1e3:.3f}"})
            for share in LOADS:
                requests = [timed if given.timeouts else plain]
                before = left(name)
                for _ in quiet.again():
                    overload = Overload(requests, share * capacity, 1.0, given.seconds, [number, int(10 * share)])
                    intended, answered, status, never, sent_late = await overload.run(connections)
                within = (status == 200) & (answered - intended <= slo_s)
                offered = (len(intended) + never) / given.seconds
                after, before_it, capacity = left(name), capacity, await most()
                mean = (before_it + capacity) / 2
                row = {
                    "model": name,
                    "round": number,
                    "capacity before and after": [before_it, capacity],
                    "slo": slo,
                    "slo ms": slo_s * 1e3,
                    "load": share,
                    "goodput": within.sum() / given.seconds / min(mean, offered),
                    "late": float(((status == 200) & ~within).sum() / len(status)),
                    "answers": {int(code): int((status == code).sum()) for code in np.unique(status)},
                    "never sent": never,
                    "sent late ms (p99)": sent_late * 1e3,
                    "refused in ms (p50)": float(np.median((answered - intended)[status != 200]) * 1e3)
                    if (status != 200).any()
                    else None,
                    "left": {reason: after[reason] - before[reason] for reason in after},
                }
                found.append(row)
                print(
                    f"{name:8} round {number} capacity {before_it:5.0f} and {capacity:5.0f}/s"
                    f" SLO {slo:4}x = {slo_s * 1e3:6.1f} ms load {share:3}x:"
                    f" goodput {row['goodput']:6.1%} late {row['late']:5.2%} {row['answers']}"
                    f" {row['left']} never {never} sent late {row['sent late ms (p99)']:.2f} ms",
                    flush=True,
                )
    return found


def left(name):
    with urllib.request.urlopen(f"http://127.0.0.1:{HTTP}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    found = dict.fromkeys(("shed", "left_late", "expired"), 0)
    for line in lines:
        if line.startswith("headrace_requests_left_total{") and f'model="{name}"' in line:
            found[line.partition('reason="')[2].partition('"')[0]] += int(line.rsplit(" ", 1)[1])
    return found


def real(given):
    os.sched_setaffinity(0, {int(harness.LOAD_CORE)})
    quiet, rows = neighbours.Neighbours(given.patience), []
    for name in given.models:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / name / "1" / "model.onnx"
            WORKLOADS[name].make(file)
            server = harness.serve(folder, HTTP, GRPC)
            server[server.index("--replicas") + 1] = str(given.replicas)
            with harness.running([*server, "--keep-alive-s", "3600"]):
                harness.wait_until_ready(HTTP, 180)
                gc.disable()
                rows += uvloop.run(measure(given, name, quiet))
                gc.enable()
    print(quiet)
    over = [row["goodput"] for row in rows if row["load"] > 1]
    print(f"above the capacity: least {min(over):.1%}, mean {_mean(over):.1%} of {len(over)} runs")
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slos", type=float, nargs="+", default=SLOS, help="in batches of the best size")
    parser.add_argument("--noise", type=float, default=0.05, help="sigma of the lognormal factor on simulated times")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--real", action="store_true", help="a real server, instead of the simulation")
    parser.add_argument("--models", nargs="+", choices=WORKLOADS, default=["cnn", "encoder"])
    parser.add_argument("--tokens", type=int, default=128, help="of the encoder's rows (real)")
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--full-rows", type=int, help="rows whose time at capacity is the unit of the SLO (real)")
    parser.add_argument("--no-timeouts", dest="timeouts", action="store_false", help="requests carry none (real)")
    parser.add_argument("--no-results", action="store_true", help="print only")
    neighbours.option(parser)
    given = parser.parse_args()
    path = harness.HERE / "results" / "overload.json"
    found = {"real": real(given)} if given.real else {"simulated": simulated(given)}
    if not given.no_results:
        kept = json.loads(path.read_text()) if path.exists() else {}
        kept = {key: value for key, value in kept.items() if key in ("real", "simulated")}
        harness.keep(path, kept | found)


if __name__ == "__main__":
    main()
