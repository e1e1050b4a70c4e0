"""Versions replaced under load: what the clients see of it. Open loop at half of capacity, every answer checked.

The load comes from this process, on the load generator's core; latency counts from the intended send time.
"""

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import harness
import models
import numpy as np

HTTP, GRPC = 9103, 9104
SWAPS = 20
CONNECTIONS = 16
WIDTH, LAYERS = 1024, 4
ROW = np.arange(1, 65, dtype=np.float32)


def times(path, factor):
    """Version N of the model answers N x, by way of LAYERS matrices that change nothing: 16 MB of weights."""
    graph = models.Graph()
    into, out = np.eye(64, WIDTH, dtype="f4"), np.eye(WIDTH, 64, dtype="f4") * factor
    at = graph.node("MatMul", "x", graph.constant(into))
    for _ in range(LAYERS):
        at = graph.node("MatMul", at, graph.constant(np.eye(WIDTH, dtype="f4")))
    graph.node("MatMul", at, graph.constant(out), output="y")
    graph.save(path, models.floats("x", "batch", 64), models.floats("y", "batch", 64))


class Lane(asyncio.Protocol):
    """One connection: sends when told, checks each answer."""

    def __init__(self, results):
        self.results = results
        self.intended = []
        self.buffer = b""

    def connection_made(self, transport):
        self.transport = transport

    def send(self, intended):
        self.intended.append(intended)
        if len(self.intended) == 1:
            self.transport.write(REQUEST)

    def data_received(self, data):
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r")[0])
        if len(rest) < length:
            return
        self.buffer = rest[length:]
        self.results.append((self.intended.pop(0), time.monotonic(), verdict(head, rest[:length])))
        if self.intended:
            self.transport.write(REQUEST)

    def connection_lost(self, error):
        now = time.monotonic()
        self.results += [(intended, now, "lost") for intended in self.intended]
        self.intended = []


def verdict(head, body):
    if not head.startswith(b"HTTP/1.1 200"):
        return "failed"
    document = json.loads(body)
    found = np.array(document["outputs"][0]["data"])
    return "ok" if np.array_equal(found, ROW * int(document["model_version"])) else "wrong"


BODY = json.dumps(
    {"inputs": [{"name": "x", "shape": [1, 64], "datatype": "FP32", "data": ROW.tolist()}]}, separators=(",", ":")
).encode()
REQUEST = b"POST /v2/models/times/infer HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
REQUEST += b"content-length: %d\r\n\r\n%b" % (len(BODY), BODY)


async def load(rate, until):
    """(intended, answered, verdict) of every request of an open loop at `rate`, until `until()`."""
    loop, results = asyncio.get_running_loop(), []
    lanes = [(await loop.create_connection(lambda: Lane(results), "127.0.0.1", HTTP))[1] for _ in range(CONNECTIONS)]
    started, sent = time.monotonic(), 0
    while not until():
        due = int((time.monotonic() - started) * rate)
        for number in range(sent, due):
            min(lanes, key=lambda lane: len(lane.intended)).send(started + number / rate)
        sent = max(sent, due)
        await asyncio.sleep(0.001)
    deadline = time.monotonic() + 10
    while len(results) < sent and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    for lane in lanes:
        lane.transport.close()
    await asyncio.sleep(0.05)
    return results


async def measure(repository, rate, seconds):
    """p99 without and with reloads, in milliseconds, and the verdicts of all."""
    end = time.monotonic() + seconds
    quiet = await load(rate, lambda: time.monotonic() > end)
    swapping = asyncio.create_task(swap(repository))
    busy = await load(rate, swapping.done)
    await swapping
    return p99(quiet), p99(busy), [verdict for _, _, verdict in quiet + busy]


async def swap(repository):
    for version in range(2, 2 + SWAPS):
        (repository.parent / "next" / str(version)).replace(repository / "times" / str(version))
        while await asyncio.to_thread(serving) != version:
            await asyncio.sleep(0.1)


def serving():
    with urllib.request.urlopen(f"http://127.0.0.1:{HTTP}/v2/models/times") as answer:
        return int(json.load(answer)["versions"][-1])


def p99(results):
    return statistics.quantiles((answered - intended for intended, answered, _ in results), n=100)[98] * 1e3


def main():
    given = harness.options(__doc__, rounds=2, seconds=5)
    harness.need("wrk", "taskset")
    rounds = []
    for _ in range(given.rounds):
        cells = {}
        for replicas in (1, 2):
            with tempfile.TemporaryDirectory() as folder:
                cells |= one(Path(folder), replicas, given.seconds)
        rounds.append(cells)
    ratios = {}
    for count in (1, 2):
        ratios[f"p99 during / without reload, replicas {count} (bar 2)"] = lambda r, n=count: r[f"ratio {n}"]
        ratios[f"failed, wrong or lost, replicas {count} (bar 0)"] = lambda r, n=count: r[f"bad {n}"]
    harness.report("reload", rounds, ratios, given)


def one(folder, replicas, seconds):
    repository = folder / "models"
    times(repository / "times" / "1" / "model.onnx", 1)
    for version in range(2, 2 + SWAPS):  # made beforehand: to make one would hold up the load
        times(folder / "next" / str(version) / "model.onnx", version)
    command = harness.serve(repository, HTTP, GRPC)
    command[command.index("--replicas") + 1] = str(replicas)
    with harness.running([*command, "--model-control-mode", "poll"]):
        harness.wait_until_ready(HTTP)
        script = harness.wrk_script(folder / "x.lua", BODY, {"content-type": "application/json"})
        url = f"http://127.0.0.1:{HTTP}/v2/models/times/infer"
        capacity = harness.wrk(url, script, CONNECTIONS, 2)[0]
        quiet, busy, verdicts = asyncio.run(measure(repository, capacity / 2, seconds))
    return {
        f"requests {replicas}": len(verdicts),
        f"rate {replicas}": capacity / 2,
        f"bad {replicas}": len(verdicts) - verdicts.count("ok"),
        f"p99 quiet {replicas}": quiet,
        f"p99 reload {replicas}": busy,
        f"ratio {replicas}": busy / quiet,
    }


if __name__ == "__main__":
    if sys.argv[1:2] != ["pinned"]:
        pinned = ["taskset", "-c", harness.LOAD_CORE, sys.executable, __file__, "pinned", *sys.argv[1:]]
        sys.exit(subprocess.run(pinned, check=False).returncode)
    del sys.argv[1]
    main()
