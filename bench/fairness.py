"""What clients of one model feel of a flood for another, on one core; and what two floods get by their weights.

B has one connection that thinks, so that it asks for `SHARE` of its device's time; A has `FLOOD` connections that never
rest. Both models are in one replica. The client of B blocks in its socket, and goes before the flood's generator on the
core that they share, so that what it sees is the server. Alone and beside the flood take turns. Then two models, one of
them with a weight of `WEIGHT`, are flooded at once.
"""

import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import harness
import load
import models
import neighbours
import numpy as np
import yaml

HTTP, GRPC = 9103, 9104
SHARE, FLOOD = 0.15, 64
WEIGHT = 3
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
MODELS = {
    "tiny": (lambda path: models.mlp(path, 64, 64, 8), "FP32", (1, 64)),
    "1 ms": (models.encoder, "INT64", (1, models.TOKENS)),
    "5 ms": (lambda path: models.encoder(path, width=512), "INT64", (1, models.TOKENS)),
}


def main():
    parser = harness.parser(__doc__, rounds=3, seconds=4.0)
    parser.add_argument("--floods", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    neighbours.option(parser)
    given = parser.parse_args()
    harness.need("wrk", "taskset")
    os.sched_setaffinity(0, {int(harness.LOAD_CORE)})
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), given)


def measure(folder, given):
    quiet = neighbours.Neighbours(given.patience)
    prepare(folder)
    scripts = {name: flood_script(folder, name) for name in given.floods}
    with harness.running([*harness.serve(folder / "models", HTTP, GRPC), "--keep-alive-s", "3600"]), first_in_line():
        harness.wait_until_ready(HTTP)
        for name in MODELS:
            for side in "AB":
                lone_latencies(served_as(name, side), 0.3)  # warm up
        rounds = [one_round(scripts, given, quiet) for _ in range(given.rounds)]
    ratios = {}
    for flood, name, what in itertools.product(given.floods, given.models, QUANTILES):
        key = f"{name} beside {flood}: {what}"
        for where in ("alone", "beside"):
            ratios[f"{key} {where}, ms"] = lambda each, key=key, where=where: each[f"{key} {where}, ms"]
        ratios[f"{key} beside / alone"] = lambda each, key=key: each[f"{key} beside, ms"] / each[f"{key} alone, ms"]
    for name in given.floods:
        ratios[by_weights(name)] = lambda each, name=name: each[by_weights(name)]
    harness.report("fairness", rounds, ratios, given)
    print(quiet)


def prepare(folder):
    """Each model three times: A and B, and W with a weight."""
    for name, (make, _, _) in MODELS.items():
        for side in "ABW":
            make(folder / "models" / served_as(name, side) / "1" / "model.onnx")
        config = {"batching": {"weight": WEIGHT}}
        (folder / "models" / served_as(name, "W") / "config.yaml").write_text(yaml.safe_dump(config))


def one_round(scripts, given, quiet):
    found = {}
    for flood, name in itertools.product(given.floods, given.models):
        for _ in quiet.again():
            alone = lone_latencies(served_as(name, "B"), given.seconds)
            with flooding(served_as(flood, "A"), scripts[flood], given.seconds):
                beside = lone_latencies(served_as(name, "B"), given.seconds)
        for what, share in QUANTILES.items():
            found[f"{name} beside {flood}: {what} alone, ms"] = float(np.quantile(alone, share)) * 1e3
            found[f"{name} beside {flood}: {what} beside, ms"] = float(np.quantile(beside, share)) * 1e3
    for name in given.floods:
        for _ in quiet.again():
            found[by_weights(name)] = by_weight(name, scripts[name], given.seconds)
    return found


def served_as(name, side):
    return f"{name.replace(' ', '')}{side}"


def inputs(name):
    _, datatype, shape = MODELS[name]
    rng = np.random.default_rng(1)
    return (rng.integers(0, 1000, shape) if datatype == "INT64" else rng.random(shape, np.float32)), datatype


def flood_script(folder, name):
    return harness.wrk_script(folder / f"{served_as(name, 'A')}.lua", *harness.binary_request(*inputs(name)))


@contextmanager
def first_in_line():
    """Before the generator of the flood on this core, where that is permitted."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    except PermissionError:
        print("not permitted to go before the flood's generator: what B sees has its delays in it", file=sys.stderr)
    yield


@contextmanager
def flooding(model, script, seconds):
    """A flood for this model, which has lasted for half a second when the block begins."""
    url = f"http://127.0.0.1:{HTTP}/v2/models/{model}/infer"
    command = ["wrk", "-t1", f"-c{FLOOD}", f"-d{int(seconds) + 30}", "--timeout", "30", "-s", str(script), url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    time.sleep(0.5)
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        text = process.communicate()[0]
        if "Non-2xx" in text or "Socket errors" in text:
            raise SystemExit(f"the server failed under load:\n{text}")


def by_weights(name):
    return f"{name}: answers by weights {WEIGHT} and 1"


def by_weight(name, script, seconds):
    """Answers for a model of weight `WEIGHT` by those for one of weight 1, both under a flood."""
    with flooding(served_as(name, "A"), script, seconds), flooding(served_as(name, "W"), script, seconds):
        before = [answers(served_as(name, side)) for side in "WA"]
        time.sleep(seconds)
        after = [answers(served_as(name, side)) for side in "WA"]
    heavy, light = (end - start for start, end in zip(before, after, strict=True))
    return heavy / light


def answers(model):
    """Rows that were answered so far."""
    with urllib.request.urlopen(f"http://127.0.0.1:{HTTP}/metrics") as page:
        return int(re.search(rf'headrace_rows_total{{model="{model}",[^}}]*}} (\d+)', page.read().decode())[1])


def lone_latencies(model, seconds):
    """Seconds of each request of one client of `model`."""
    name = next(name for name in MODELS if model[:-1] == served_as(name, ""))
    request = load.http_request(model, *harness.binary_request(*inputs(name)))
    rng = np.random.default_rng(2)
    found = []
    with socket.create_connection(("127.0.0.1", HTTP)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        best, end = ask(connection, request), time.perf_counter() + seconds
        while time.perf_counter() < end or len(found) < 10:
            found.append(ask(connection, request))
            best = min(best, found[-1])
            time.sleep(rng.exponential(best * (1 / SHARE - 1)))
    return np.array(found)


def ask(connection, request):
    started = time.perf_counter()
    connection.sendall(request)
    answer = connection.recv(1 << 20)
    if not answer.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"the server answered {answer[:400]!r}")
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
