"""A model in two stages on two cores against the whole on one: throughput, memory. How soon a large one is loaded.

The reference is a plain session in a process of its own on core 0, same batches; interleaved. Both are called, not
served: what HTTP costs is in `efficiency.py`. Files are read and loaded from the disk: what the system has of them in
memory is dropped before.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import harness
import models
import numpy as np
import psutil

from executor.load import load_model
from headrace.config import ModelConfig
from headrace.models import ModelId

ID = ModelId("m", 1)
ROWS, TOKENS = 16, 32
LARGE_WIDTH, LARGE_LAYERS = 8192, 10
SAMPLE = np.random.default_rng(0).integers(0, 1000, (ROWS, TOKENS))
KILLS = 6


def compute_bound(path):
    models.encoder(path, width=768, layers=8, heads=12)


def large(path):
    """2.7 GB of weights beside the model, a layer's all alike: what is in them takes as long to read."""
    import onnx
    from onnx import TensorProto, helper

    nodes, weights, at = [], [], "x"
    layer_bytes = 4 * LARGE_WIDTH * LARGE_WIDTH
    path.parent.mkdir(parents=True)
    with path.with_name("weights").open("wb") as file:
        layer = (np.random.default_rng(0).standard_normal((LARGE_WIDTH, LARGE_WIDTH), np.float32) / 90).tobytes()
        for index in range(LARGE_LAYERS):
            file.write(layer)
            made = "y" if index == LARGE_LAYERS - 1 else f"h{index}"
            weight = TensorProto(name=f"w{index}", data_type=1, dims=(LARGE_WIDTH, LARGE_WIDTH), data_location=1)
            for key, value in (("location", "weights"), ("offset", index * layer_bytes), ("length", layer_bytes)):
                weight.external_data.add(key=key, value=str(value))
            weights.append(weight)
            nodes.append(helper.make_node("MatMul", [at, f"w{index}"], [made]))
            at = made
    x, y = (models.floats(name, "batch", LARGE_WIDTH) for name in "xy")
    graph = helper.make_graph(nodes, "large", [x], [y], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def main():
    if sys.argv[1:2] == ["whole"]:
        whole(Path(sys.argv[2]))
        return
    parser = harness.parser(__doc__, rounds=5, seconds=4)
    parser.add_argument("--no-large", action="store_true", help="leave out the model of 2.7 GB")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(Path(folder), given))


def whole(file):
    """Answers a number of seconds on stdin with rows/s and bytes, until stdin ends."""
    session = harness.open_session(str(file))
    session.run(None, {"x": SAMPLE})
    for line in sys.stdin:
        runs, started = 0, time.perf_counter()
        while (took := time.perf_counter() - started) < float(line):
            session.run(None, {"x": SAMPLE})
            runs += 1
        print(json.dumps([ROWS * runs / took, pss(os.getpid())]), flush=True)


def pss(pid):
    return psutil.Process(pid).memory_full_info().pss


def load(file, devices, **config):
    return load_model(ID, file, ModelConfig(sharding={"devices": devices}, **config), labels={})


async def measure(folder, given):
    file = folder / "m" / "1" / "model.onnx"
    compute_bound(file)
    expected = harness.open_session(str(file)).run(None, {"x": SAMPLE})[0]
    reference = subprocess.Popen(  # noqa: ASYNC220 - nothing else runs yet
        ["taskset", "-c", "0", sys.executable, __file__, "whole", str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    model = load(file, ("cpu:0", "cpu:1"))
    executor = model.executor

    def alone():
        reference.stdin.write(f"{given.seconds}\n")
        reference.stdin.flush()
        return json.loads(reference.stdout.readline())

    async def staged():
        runs, end = 0, time.perf_counter() + given.seconds

        async def ask():
            nonlocal runs
            while time.perf_counter() < end:
                await executor.run({"x": SAMPLE})
                runs += 1

        started = time.perf_counter()
        await asyncio.gather(*(ask() for _ in range(executor.slots + 1)))
        return ROWS * runs / (time.perf_counter() - started)

    alone()
    await staged()
    rounds = []
    for _ in range(given.rounds):
        rows, memory = alone()
        stages = [child.pid for child in stage_processes()]
        rounds.append(
            {
                "whole, rows/s": rows,
                "two stages, rows/s": await staged(),
                "whole, MB": memory / 1e6,
                "largest stage, MB": max(map(pss, stages)) / 1e6,
                "wrong": int(not np.array_equal((await executor.run({"x": SAMPLE}))["y"], expected)),
            }
        )
    kills = [await killed(executor, stage % 2, expected) for stage in range(KILLS)]
    reference.stdin.close()
    reference.wait()
    await executor.close()
    ratios = {
        "rows/s, two stages / whole on one core (bar 1.75)": lambda r: r["two stages, rows/s"] / r["whole, rows/s"],
        "memory of the largest stage / whole (bar 0.6)": lambda r: r["largest stage, MB"] / r["whole, MB"],
        "wrong answers": lambda r: r["wrong"],
    }
    for each in rounds:
        each["seconds from kill -9 of a stage to the next answer"] = float(np.median([took for took, _ in kills]))
        each["lost or wrong when a stage was killed"] = sum(lost for _, lost in kills)
    for name in ("seconds from kill -9 of a stage to the next answer", "lost or wrong when a stage was killed"):
        ratios[name] = lambda r, name=name: r[name]
    if not given.no_large:
        found = load_large(folder / "large" / "1" / "model.onnx")
        for seen in rounds:
            seen.update(found)
        ratios["2.7 GB in three stages: load / read (bar 1.5)"] = lambda r: r["load, s"] / r["read, s"]
    harness.report("sharding", rounds, ratios, given)


def stage_processes():
    return [each for each in psutil.Process().children() if "executor.sharding.process" in each.cmdline()]


async def killed(executor, stage, expected):
    """(seconds until a run that came after the kill was answered, runs of four under way lost or wrong)."""
    under_way = [asyncio.create_task(executor.run({"x": SAMPLE})) for _ in range(4)]
    await asyncio.sleep(0.05)
    started = time.perf_counter()
    os.kill(sorted(each.pid for each in stage_processes())[stage], signal.SIGKILL)
    await executor.run({"x": SAMPLE})
    took = time.perf_counter() - started
    found = await asyncio.gather(*under_way, return_exceptions=True)
    return took, sum(isinstance(each, Exception) or not np.array_equal(each["y"], expected) for each in found)


def forget(file):
    """Of this file nothing stays in memory."""
    descriptor = os.open(file, os.O_RDWR)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def load_large(file):
    large(file)
    seconds = {}
    weights = file.with_name("weights")
    forget(weights)
    started = time.perf_counter()
    with weights.open("rb", buffering=0) as reading:
        while reading.read(1 << 24):
            pass
    seconds["read, s"] = time.perf_counter() - started
    forget(weights)
    started = time.perf_counter()
    model = load(file, ("cpu:0", "cpu:1", "cpu:2"), batching={"enabled": False})
    seconds["load, s"] = time.perf_counter() - started
    for child in stage_processes():
        child.kill()
    del model
    return seconds


if __name__ == "__main__":
    main()
