"""What an engine costs a request, and what it gathers: models in every replica against the same in an engine.

Lone requests go to two servers of one replica each, in turns. Batches: two servers of two replicas, closed loop. All
have both cores, as has the load: who waits does not compute.
"""

import tempfile
from pathlib import Path

import harness
import models
import numpy as np

PORTS = {"inline": 9103, "shared": 9113, "inline, 2 replicas": 9123, "shared, 2 replicas": 9133}
CONNECTIONS = 16
IMAGE, ROW = np.ones((1, 3, 224, 224), np.float32), np.ones((1, 64), np.float32)
WIDE = np.ones((1, 1024), np.float32)


def image_network(path):
    """Some 10 ms for x FP32 [batch, 3, 224, 224], 602 KB -> y FP32 [batch, 10]."""
    graph = models.Graph()

    def convolve(at, given, made, side, stride):
        filters = graph.constant(graph.normal(made, given, side, side) / np.sqrt(given * side * side, dtype="f4"))
        return graph.node("Relu", graph.node("Conv", at, filters, pads=[side // 2] * 4, strides=[stride] * 2))

    at = convolve("x", 3, 64, 7, 4)
    for _ in range(3):
        at = convolve(at, 64, 64, 3, 1)
    graph.node("MatMul", graph.node("Flatten", graph.node("GlobalAveragePool", at)), graph.weight(64, 10), output="y")
    graph.save(path, [models.floats("x", "batch", 3, 224, 224)], models.floats("y", "batch", 10))


MODELS = {
    "image": (image_network, IMAGE),
    "small": (lambda path: models.mlp(path, 64, 64, 8), ROW),
    "gemm": (lambda path: models.mlp(path, *[1024] * 6), WIDE),
}


def main():
    given = harness.options(__doc__, rounds=5, seconds=3)
    harness.need("wrk", "taskset")
    harness.SERVER_CORE = harness.LOAD_CORE = "0,1"
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), given)


def measure(folder, given):
    commands, scripts = [], {}
    for server, port in PORTS.items():
        repository = folder / server
        for name, (make, _) in MODELS.items():
            make(repository / name / "1" / "model.onnx")
            (repository / name / "config.yaml").write_text(
                f"placement: {server.partition(',')[0]}\ninstances: {{threads: 1}}\n"
            )
        command = harness.serve(repository, port, port + 1)
        command[command.index("--replicas") + 1] = "2" if "2" in server else "1"
        commands.append(command)
    for name, (_, x) in MODELS.items():
        scripts[name] = harness.wrk_script(folder / f"{name}.lua", *harness.binary_request(x, "FP32"))

    def p50_us(server, name):
        url = f"http://127.0.0.1:{PORTS[server]}/v2/models/{name}/infer"
        return harness.wrk(url, scripts[name], 1, given.seconds)[1]

    def rows_per_batch(server):
        before = counts(PORTS[server])
        url = f"http://127.0.0.1:{PORTS[server]}/v2/models/gemm/infer"
        harness.wrk(url, scripts["gemm"], CONNECTIONS, given.seconds)
        rows, batches = (new - old for new, old in zip(counts(PORTS[server]), before, strict=True))
        return rows / batches

    cells = {f"{name}, {server}": (p50_us, server, name) for name in ("image", "small") for server in list(PORTS)[:2]}
    cells |= {f"rows per batch, {server}": (rows_per_batch, server) for server in list(PORTS)[2:]}
    with harness.running(*commands):
        for port in PORTS.values():
            harness.wait_until_ready(port)
        for server in list(PORTS)[:2]:
            for name, (_, x) in MODELS.items():
                file = folder / server / name / "1" / "model.onnx"
                harness.check(PORTS[server], name, x, "FP32", file)
        for cell, *arguments in cells.values():
            cell(*arguments)  # warm up
        rounds = [{name: cell(*arguments) for name, (cell, *arguments) in cells.items()} for _ in range(given.rounds)]
    ratios = {
        "p50 of 600 KB, 10 ms: engine / inline (bar 1.15)": lambda r: r["image, shared"] / r["image, inline"],
        "p50 of 256 B: engine - inline, us (bar 120)": lambda r: r["small, shared"] - r["small, inline"],
        "rows per batch: engine / inline (bar 1.8)": lambda r: (
            r["rows per batch, shared, 2 replicas"] / r["rows per batch, inline, 2 replicas"]
        ),
        "p50 of 600 KB inline, ms": lambda r: r["image, inline"] / 1e3,
        "p50 of 256 B inline, us": lambda r: r["small, inline"],
    }
    harness.report("engine", rounds, ratios, given)


def counts(port):
    """(rows, batches) of gemm so far."""
    (row,) = harness.get(port, "/v2/models/gemm/stats")["model_stats"]
    batches = sum(each["compute_infer"]["count"] for each in row["batch_stats"])
    return row["inference_count"], batches


if __name__ == "__main__":
    main()
