"""Elastic threads: a lone client's p50 against a session on all cores, busy throughput against one thread per replica.

A CNN, three servers of two replicas each on both cores (`threads: 2`, `1`, `elastic`), asked in turns.
"""

import tempfile
from pathlib import Path

import harness
import models
import numpy as np

PORTS = {"wide": 9103, "narrow": 9113, "elastic": 9123}
THREADS = {"wide": "2", "narrow": "1", "elastic": "elastic"}
CONNECTIONS = 32
X = np.ones((1, 3, 32, 32), np.float32)


def main():
    given = harness.options(__doc__, rounds=5, seconds=4)
    harness.need("wrk", "taskset")
    harness.SERVER_CORE = harness.LOAD_CORE = "0,1"
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), given)


def measure(folder, given):
    commands = []
    for server, port in PORTS.items():
        file = folder / server / "cnn" / "1" / "model.onnx"
        models.convolutions(file, 64, 128, 256)
        (file.parents[1] / "config.yaml").write_text(f"instances: {{threads: {THREADS[server]}}}\n")
        command = harness.serve(folder / server, port, port + 1)
        command[command.index("--replicas") + 1] = "2"
        commands.append(command)
    script = harness.wrk_script(folder / "cnn.lua", *harness.binary_request(X, "FP32"))

    def asked(server, connections):
        url = f"http://127.0.0.1:{PORTS[server]}/v2/models/cnn/infer"
        return harness.wrk(url, script, connections, given.seconds)

    with harness.running(*commands):
        for server, port in PORTS.items():
            harness.wait_until_ready(port)
            harness.check(port, "cnn", X, "FP32", folder / server / "cnn" / "1" / "model.onnx")
        for server in PORTS:
            asked(server, CONNECTIONS)  # warm up
        rounds = [
            {
                **{f"lone, {server}, ms": asked(server, 1)[1] / 1e3 for server in PORTS},
                **{f"busy, {server}, answers/s": asked(server, CONNECTIONS)[0] for server in PORTS},
            }
            for _ in range(given.rounds)
        ]
    ratios = {
        "lone p50: elastic / wide (bar 1.15)": lambda r: r["lone, elastic, ms"] / r["lone, wide, ms"],
        "lone p50: narrow / wide": lambda r: r["lone, narrow, ms"] / r["lone, wide, ms"],
        "busy answers/s: elastic / narrow (bar 0.97)": lambda r: (
            r["busy, elastic, answers/s"] / r["busy, narrow, answers/s"]
        ),
        "busy answers/s: wide / narrow": lambda r: r["busy, wide, answers/s"] / r["busy, narrow, answers/s"],
    }
    harness.report("elastic", rounds, ratios, given)


if __name__ == "__main__":
    main()
