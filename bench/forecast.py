"""Does a real server take as long as `headrace simulate` says? Measured latency over foretold latency, by load.

One replica on its core, the load generator on the other. Each load is foretold twice: from the curve of the sweep at
load, as before deploying, and from what the batcher had learnt when the load was over. Latencies of open loops count
from the intended times. What is foretold leaves out the front end, so that small batches take longer than that.
"""

import os
import tempfile
import urllib.request
from pathlib import Path

import harness
import load
import numpy as np
import uvloop
from workloads import WORKLOADS

from batcher import known, loads
from batcher.what_if import capacity, what_if

HTTP, GRPC = 9107, 9108
SHARES = (0.1, 0.3, 0.5)
"""Of the capacity that the sweep says."""
CLIENTS = (1, 8)
WARM_UP_S = 2.0
REQUESTS = 8000
AT_ONCE_S = 1e-4
"""Think time of a client that sends as soon as it is answered."""


def main():
    parser = harness.parser(__doc__, rounds=1, seconds=6.0)
    parser.add_argument("--models", nargs="+", choices=WORKLOADS, default=["gemm", "cnn"])
    given = parser.parse_args()
    os.sched_setaffinity(0, {int(harness.LOAD_CORE)})
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for model in given.models:
            WORKLOADS[model].make(Path(folder) / "models" / model / "1" / "model.onnx")
        server = [*harness.serve(Path(folder) / "models", HTTP, GRPC), "--keep-alive-s", "3600"]
        with harness.running(server):
            harness.wait_until_ready(HTTP, 180)
            for model in given.models:
                sweep = document(model)
                most = capacity(known.read(sweep, model)[0]).rows_per_s
                cells = [("rate", share * most) for share in SHARES] + [("clients", count) for count in CLIENTS]
                for kind, value in cells:
                    seen = uvloop.run(visit(model, kind, value, given.seconds))
                    found.append((model, kind, value, seen, {"sweep": sweep, "learnt": document(model)}))
    rows = [judge(*cell) for cell in found]
    if not given.no_results:
        harness.keep(harness.HERE / "results" / "forecast.json", {"seconds": given.seconds, "cells": rows})


def document(model):
    url = f"http://127.0.0.1:{HTTP}/v2/models/{model}/batcher?recording=true"
    return urllib.request.urlopen(url, timeout=60).read()


async def visit(model, kind, value, seconds):
    work = WORKLOADS[model]
    requests = [load.http_request(model, *harness.binary_request(x, work.datatype)) for x in work.requests()]
    client = load.Client(HTTP)
    if kind == "rate":
        return await client.open(requests, value, WARM_UP_S, seconds, 1)
    return await client.closed(requests, value, WARM_UP_S, seconds)


def judge(model, kind, value, seen, documents):
    """Print and return one load: what was measured, and by how much more that is than was foretold."""
    mean, p99 = float(seen.latencies.mean()) * 1e3, float(np.quantile(seen.latencies, 0.99, method="nearest")) * 1e3
    row = {"model": model, kind: round(value, 1), "mean ms": round(mean, 3), "p99 ms": round(p99, 3)}
    for source, said in documents.items():
        what, _ = known.read(said, model)
        asked = loads.poisson(value, REQUESTS, 1) if kind == "rate" else loads.closed(value, AT_ONCE_S, REQUESTS, 1)
        told = next(what_if(what, asked, REQUESTS)).forecast
        row[f"by the {source}"] = {
            "mean ms": told.mean_ms,
            "p99 ms": told.p99_ms,
            "mean, measured / foretold": round(mean / told.mean_ms, 2),
            "p99, measured / foretold": round(p99 / told.p99_ms, 2),
        }
    print(row)
    return row


if __name__ == "__main__":
    main()
