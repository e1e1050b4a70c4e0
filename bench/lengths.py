"""Requests of lognormal lengths to a transformer encoder: what padding by cost is worth.

Closed loop over binary HTTP, one replica on one core, which it fills. `padded` is the default; `same shape` is `pad:
false`, where only requests of one length share a batch; `to the longest` are clients that pad to LONGEST themselves.
Rows per second of the server's CPU time are compared: on a core of its own that is rows/s, and neighbours disturb it
less. Beside it what no padding can reach: `session.run` alone on MOST_ROWS rows of one length, lengths as often as they
come. Writes `results/lengths.json`.
"""

import gc
import json
import os
import tempfile
import time
import urllib.request
from pathlib import Path

import harness
import load
import models
import numpy as np
import psutil
import uvloop
import workloads

HTTP, GRPC = 9123, 9124
CONNECTIONS = (32, 64)
LONGEST, MEDIAN, SIGMA = 128, 24, 0.6
MOST_ROWS = 32
SIZES = {
    "tiny": {"width": 128, "layers": 2, "heads": 2},  # as prajjwal1/bert-tiny
    "small": {"width": 384, "layers": 6, "heads": 12},  # as sentence-transformers/all-MiniLM-L6-v2
}
WAYS = ("padded", "same shape", "to the longest")


def main():
    given = options()
    os.sched_setaffinity(0, {int(harness.LOAD_CORE)})
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder) / "models"
        for size in given.sizes:
            make(repository, size)
        server = [*harness.serve(repository, HTTP, GRPC), "--keep-alive-s", "3600"]
        with harness.running(server) as (process,):
            harness.wait_until_ready(HTTP, 180)
            gc.disable()
            rounds = uvloop.run(measure(given, repository, psutil.Process(process.pid)))
    ratios = {}
    for size in given.sizes:
        for connections in CONNECTIONS:
            cell = f"{size} x {connections}"
            for way in WAYS[1:]:
                ratios[f"{cell}: padded / {way}"] = lambda r, cell=cell, way=way: (
                    r[f"{cell} padded"] / r[f"{cell} {way}"]
                )
            ratios[f"{cell}: alone, one length / same shape"] = lambda r, size=size, cell=cell: (
                r[f"{size} alone"] / r[f"{cell} same shape"]
            )
    harness.report("lengths", rounds, ratios, given)


def options():
    parser = harness.parser(__doc__, rounds=5, seconds=4.0)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    return parser.parse_args()


def lengths():
    return workloads.mixed_lengths(MEDIAN, SIGMA, longest=LONGEST)


def make(repository, size):
    file = repository / size / "1" / "model.onnx"
    models.encoder(file, **SIZES[size], tokens="tokens", masked=True)
    same = repository / f"{size}-same" / "1" / "model.onnx"
    same.parent.mkdir(parents=True)
    same.hardlink_to(file)
    (same.parents[1] / "config.yaml").write_text("batching: {pad: false}")


def tensors(length, padded_to):
    x, mask = np.zeros((1, padded_to), np.int64), np.zeros((1, padded_to), np.int64)
    x[:, :length] = np.random.default_rng(length).integers(0, 1000, length)
    mask[:, :length] = 1
    return {"x": x, "attention_mask": mask}


def served_as(size, way):
    return size if way == "padded" else f"{size}-same"


def requests(size, way):
    name = served_as(size, way)
    bodies = [tensors(each, LONGEST if way == "to the longest" else each) for each in lengths()]
    return [load.http_request(name, *harness.binary_request(datatype="INT64", **each)) for each in bodies]


def seen_by(server, name):
    """(rows answered, CPU seconds of the server and its replica) so far."""
    with urllib.request.urlopen(f"http://127.0.0.1:{HTTP}/v2/models/{name}/stats") as answer:
        (stats,) = json.load(answer)["model_stats"]
    times = [each.cpu_times() for each in (server, *server.children(recursive=True))]
    return stats["inference_count"], sum(each.user + each.system for each in times)


async def measure(given, repository, server):
    client, rounds = load.Client(HTTP), []
    for number in range(given.rounds + 1):
        found = {}
        for size in given.sizes:
            found[f"{size} alone"] = alone(repository / size / "1" / "model.onnx")
            for connections in CONNECTIONS:
                for way in WAYS if number % 2 else reversed(WAYS):
                    # A batch of rows of the longest takes seconds.
                    seconds = given.seconds * (3 if way == "to the longest" else 1)
                    name = served_as(size, way)
                    rows, cpu_s = seen_by(server, name)
                    await client.closed(requests(size, way), connections, 0.0, seconds)
                    more_rows, more_s = seen_by(server, name)
                    found[f"{size} x {connections} {way}"] = (more_rows - rows) / (more_s - cpu_s)
        if number:  # the first one is for learning
            rounds.append(found)
        print(f"round {number}: { ({name: round(each, 1) for name, each in found.items()}) }", flush=True)
    return rounds


def alone(file):
    """Rows/s without a server, on its core: batches of MOST_ROWS of one length; eight lengths stand for all."""
    os.sched_setaffinity(0, {int(harness.SERVER_CORE)})
    try:
        session = harness.open_session(str(file))
        spent = 0.0
        some = np.quantile(lengths(), np.arange(1, 16, 2) / 16, method="nearest").tolist()
        for length in some:
            batch = {name: np.repeat(array, MOST_ROWS, axis=0) for name, array in tensors(length, length).items()}
            session.run(None, batch)
            started = time.process_time()
            session.run(None, batch)
            spent += time.process_time() - started
        return MOST_ROWS * len(some) / spent
    finally:
        os.sched_setaffinity(0, {int(harness.LOAD_CORE)})


if __name__ == "__main__":
    main()
