"""What of a model's throughput is left when it is served: rows/s over HTTP against the best of `session.run` alone.

Both on the same core, interleaved. The server has no configuration; the reference tries every batch size.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import harness
import models
import numpy as np

HTTP, GRPC = 9103, 9104
BATCHES = (1, 2, 4, 8, 16, 32, 64)
CONNECTIONS = 32
MODELS = {
    "encoder": (models.encoder, np.arange(models.TOKENS, dtype=np.int64)[None], "INT64"),
    "mlp": (lambda path: models.mlp(path, *[1024] * 6), np.ones((1, 1024), np.float32), "FP32"),
}


def main():
    if sys.argv[1:2] == ["alone"]:
        print(json.dumps(alone(sys.argv[2], sys.argv[3], float(sys.argv[4]))))
        return
    given = harness.options(__doc__, rounds=5, seconds=4)
    harness.need("wrk", "taskset")
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), given)


def measure(folder, given):
    repository = folder / "models"
    cells = {}
    for name, (make, x, datatype) in MODELS.items():
        file = repository / name / "1" / "model.onnx"
        make(file)
        script = harness.wrk_script(folder / f"{name}.lua", *harness.binary_request(x, datatype))
        cells |= {
            f"{name} alone": lambda name=name, file=file: max(reference(name, file, given.seconds).values()),
            f"{name} served": lambda name=name, script=script: harness.wrk(
                f"http://127.0.0.1:{HTTP}/v2/models/{name}/infer", script, CONNECTIONS, given.seconds
            )[0],
        }
    with harness.running(harness.serve(repository, HTTP, GRPC)):
        harness.wait_until_ready(HTTP)
        for name, (_, x, datatype) in MODELS.items():
            harness.check(HTTP, name, x, datatype, repository / name / "1" / "model.onnx")
        for cell in cells.values():
            cell()  # warm up
        rounds = [{name: cell() for name, cell in cells.items()} for _ in range(given.rounds)]
    ratios = {
        f"{name} served / alone{' (bar 0.9)' if name == 'encoder' else ''}": lambda r, name=name: (
            r[f"{name} served"] / r[f"{name} alone"]
        )
        for name in MODELS
    }
    harness.report("efficiency", rounds, ratios, given)


def reference(name, file, seconds):
    """Batch size -> rows/s of `session.run`, in a process of its own on the server's core."""
    command = [sys.executable, __file__, "alone", name, str(file), str(seconds)]
    text = subprocess.run(["taskset", "-c", harness.SERVER_CORE, *command], capture_output=True, text=True, check=True)
    return json.loads(text.stdout)


def alone(name, file, seconds):
    session = harness.open_session(file)
    found = {}
    for rows in BATCHES:
        x = np.repeat(MODELS[name][1], rows, axis=0)
        session.run(None, {"x": x})
        runs, started = 0, time.perf_counter()
        while (took := time.perf_counter() - started) < seconds / len(BATCHES):
            session.run(None, {"x": x})
            runs += 1
        found[rows] = rows * runs / took
    return found


if __name__ == "__main__":
    main()
