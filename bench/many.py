"""A thousand small models in one repository: how long until all serve, and what it costs to have them.

The server has both cores. Poll mode; the client's calls go over one kept-alive connection, so one replica answers.
"""

import http.client
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import harness
import models

HTTP, GRPC = 9105, 9106
MODELS = 1000
CALLS = 50
READY_S, ADDED_S = 300, 60
DOCUMENTS = {
    "index": ("POST", "/v2/repository/index"),
    "stats": ("GET", "/v2/models/stats"),
    "metrics": ("GET", "/metrics"),
}
BARS = {"index": " (bar 50)"}
TICKS = os.sysconf("SC_CLK_TCK")


def shapes(folder):
    """Five small graphs, 0.4 to 110 kB."""
    models.mlp(folder / "tiny" / "1" / "model.onnx", 4, 4)
    models.mlp(folder / "small" / "1" / "model.onnx", 16, 32, 16)
    models.mlp(folder / "middle" / "1" / "model.onnx", 64, 128, 64, 8)
    models.mlp(folder / "deep" / "1" / "model.onnx", 32, *(8 * [32]), 4)
    models.encoder(folder / "encoder" / "1" / "model.onnx", width=32, layers=1, heads=2, vocabulary=500)
    return sorted(folder.iterdir())


def fill(repository, of, count):
    """`count` models, every other one with a configuration."""
    for number in range(count):
        model = repository / f"model{number:04d}"
        shutil.copytree(of[number % len(of)], model)
        if number % 2:
            (model / "config.yaml").write_text("batching:\n  max_batch_rows: 16\n")


def one(repository, spare, replicas, seconds):
    command = harness.serve(repository, HTTP, GRPC)
    command[command.index("--replicas") + 1] = str(replicas)
    command = [sys.executable, *command, "--model-control-mode", "poll", "--log-level", "warning"]
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        harness.wait_until_ready(HTTP, READY_S)
        cells = {"ready s (bar 60)": time.monotonic() - started}
        cells["CPU s until ready"] = sum(map(cpu_s, [process.pid, *children(process.pid)]))
        for what, (method, path) in DOCUMENTS.items():
            times = calls(method, path)
            cells |= {f"{what} p50 ms{BARS.get(what, '')}": statistics.median(times), f"{what} most ms": times[-1]}
        pids = [pid for pid in children(process.pid) if "/board" in Path(f"/proc/{pid}/maps").read_text()]
        assert len(pids) == replicas
        cells["resident MB"] = max(map(resident_mb, pids))
        cells["descriptors"] = max(count(f"/proc/{pid}/fd") for pid in pids)
        cells["threads"] = max(count(f"/proc/{pid}/task") for pid in pids)
        before = cpu_s(process.pid)
        time.sleep(seconds)
        cells["supervisor CPU s a minute"] = (cpu_s(process.pid) - before) * 60 / seconds
        cells["added s"] = added(repository, spare)
        return {f"{what}, replicas {replicas}": value for what, value in cells.items()}
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(repository / "added", ignore_errors=True)


def calls(method, path):
    """Milliseconds of each of CALLS calls, ascending."""
    times = []
    connection = http.client.HTTPConnection("127.0.0.1", HTTP, timeout=60)
    for _ in range(CALLS):
        started = time.monotonic()
        connection.request(method, path)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, path
        times.append((time.monotonic() - started) * 1e3)
    connection.close()
    return sorted(times)


def added(repository, spare):
    """Seconds until a model that is moved into the repository is served."""
    staged = repository.parent / "staged"
    shutil.copytree(spare, staged)
    started = time.monotonic()
    staged.rename(repository / "added")
    while time.monotonic() < started + ADDED_S:
        connection = http.client.HTTPConnection("127.0.0.1", HTTP, timeout=60)
        connection.request("GET", "/v2/models/added/ready")
        found = connection.getresponse().status
        connection.close()
        if found == 200:
            return time.monotonic() - started
        time.sleep(0.02)
    raise SystemExit("the added model was not served in time")


def count(folder):
    return sum(1 for _ in Path(folder).iterdir())


def children(pid):
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=True)
    return list(map(int, found.stdout.split()))


def cpu_s(pid):
    """CPU time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mb(pid):
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6


def main():
    given = harness.options(__doc__, rounds=2, seconds=30)
    rounds = []
    for _ in range(given.rounds):
        cells = {}
        for replicas in (1, 2):
            with tempfile.TemporaryDirectory() as folder:
                graphs = shapes(Path(folder) / "graphs")
                fill(Path(folder) / "models", graphs, MODELS)
                cells |= one(Path(folder) / "models", graphs[0], replicas, given.seconds)
        rounds.append(cells)
    ratios = {cell: lambda cells, cell=cell: cells[cell] for cell in rounds[0]}
    harness.report("many", rounds, ratios, given)


if __name__ == "__main__":
    main()
