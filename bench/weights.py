"""What replicas that share a 400 MB model's weights hold together, and how soon they have them.

Memory is proportional (PSS), summed over the replicas that serve; supervisor and standby replica hold no model and are
not counted. Replicas are not pinned. Loads are sessions opened in turn in this process, files in the page cache.
"""

import contextlib
import gc
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import harness
import models

from executor.cache import Cache
from executor.prepared import LEAST_BYTES
from executor.sessions import open_session
from headrace.models import ModelId

HTTP, GRPC = 9105, 9106
REPLICAS = 4
LOADS = 5
ID = ModelId("wide", 1)


@contextlib.contextmanager
def serving(repository, replicas, *flags):
    """Seconds until it was ready, and its process id."""
    command = harness.serve(repository, HTTP, GRPC)
    command[command.index("--replicas") + 1] = str(replicas)
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, *command, *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        harness.wait_until_ready(HTTP)
        yield time.monotonic() - started, process.pid
    finally:
        process.terminate()
        process.wait()


def held_mb(supervisor):
    """PSS of the replicas, which are those that have mapped the pool's board."""
    children = subprocess.run(["pgrep", "-P", str(supervisor)], capture_output=True, text=True, check=True).stdout
    replicas = [pid for pid in children.split() if "/board" in Path(f"/proc/{pid}/maps").read_text()]
    rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in replicas]
    return len(replicas), sum(int(re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)[1]) for text in rollups) / 1024


def start(repository, replicas, cache):
    """(seconds until ready, MB held), with this cache or without."""
    flags = ["--cache-max-bytes", str(10 << 30), "--cache-dir", str(cache)] if cache else []
    with serving(repository, replicas, *flags) as (seconds, pid):
        count, held = held_mb(pid)
        assert count == replicas, f"{count} replicas of {replicas}"
        return seconds, held


def load_s(model_file, cache):
    gc.collect()
    started = time.perf_counter()
    session = open_session(ID, model_file, ("cpu",), 1, cache, REPLICAS)
    seconds = time.perf_counter() - started
    del session
    return seconds


def one(folder):
    repository, cache = folder / "models", folder / "cache"
    model_file = repository / "wide" / "1" / "model.onnx"
    models.mlp(model_file, 2048, *[4096] * 6, 2048)
    assert model_file.stat().st_size > LEAST_BYTES
    cells = {"model MB": model_file.stat().st_size / 1e6}
    for replicas in (1, REPLICAS):
        cells[f"start plain {replicas}"], cells[f"MB plain {replicas}"] = start(repository, replicas, None)
    cells[f"start cold {REPLICAS}"], cells[f"MB cold {REPLICAS}"] = start(repository, REPLICAS, cache)
    for replicas in (1, REPLICAS):
        cells[f"start warm {replicas}"], cells[f"MB warm {replicas}"] = start(repository, replicas, cache)
    shutil.rmtree(cache)
    cache.mkdir(mode=0o700)
    kept = Cache(cache, 10 << 30)
    cells["load cold"] = load_s(model_file, kept)
    turns = [(load_s(model_file, None), load_s(model_file, kept)) for _ in range(LOADS)]
    cells["load plain"], cells["load warm"] = map(statistics.median, zip(*turns, strict=True))
    return cells


def main():
    given = harness.options(__doc__, rounds=3, seconds=0)
    rounds = []
    for _ in range(given.rounds):
        with tempfile.TemporaryDirectory() as folder:
            rounds.append(one(Path(folder)))
    warm, cold, plain = f"warm {REPLICAS}", f"cold {REPLICAS}", f"plain {REPLICAS}"
    ratios = {
        "memory, 4 replicas / 1 (bar 1.4)": lambda r: r[f"MB {warm}"] / r["MB warm 1"],
        "memory, 4 replicas / 1, first start": lambda r: r[f"MB {cold}"] / r["MB plain 1"],
        "memory, 4 replicas / 1, without cache": lambda r: r[f"MB {plain}"] / r["MB plain 1"],
        "reload / plain session load (bar 1)": lambda r: r["load warm"] / r["load plain"],
        "first load, which prepares / plain": lambda r: r["load cold"] / r["load plain"],
        "first start of 4 / without cache": lambda r: r[f"start {cold}"] / r[f"start {plain}"],
        "later start of 4 / without cache": lambda r: r[f"start {warm}"] / r[f"start {plain}"],
        "later start of 1 / without cache": lambda r: r["start warm 1"] / r["start plain 1"],
    }
    harness.report("weights", rounds, ratios, given)


if __name__ == "__main__":
    main()
