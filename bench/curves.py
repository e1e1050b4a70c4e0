"""Seconds of a batch by its rows, for the models of `adaptive.py`, run with the server's own session options.

One session with one and with two intra-op threads, and one session of one thread that two callers run at once, on two
cores and on one. The least of the rounds. Writes `curves.json`, from which the batcher's simulator takes its models.
"""

import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import harness
import neighbours
from workloads import WORKLOADS

from executor import runtime
from executor.sessions import session_options

ROWS = (1, 2, 3, 4, 5, 8, 9, 16, 17, 32, 33, 64)
LENGTHS = (16, 32, 128)
"""Of the encoder's rows, whose batches are of one length each."""
LEAST_RUNS = 2
SETTINGS = {
    "1 thread": (1, 1, 1),
    "2 threads": (2, 2, 1),
    "1 thread, two runs at once on 2 cores": (2, 1, 2),
    "1 thread, two runs at once on 1 core": (1, 1, 2),
}
"""name -> (cores, intra-op threads, callers)."""


def main():
    parser = harness.parser(__doc__, rounds=3, seconds=0.1)
    neighbours.option(parser)
    given = parser.parse_args()
    quiet = neighbours.Neighbours(given.patience)
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / name / "1" / "model.onnx" for name in WORKLOADS}
        for name, work in WORKLOADS.items():
            work.make(files[name])
        rounds = [curves(files, given.seconds, quiet) for _ in range(given.rounds)]
    found = {
        setting: {
            curve: {rows: float(f"{min(each[setting][curve][rows] for each in rounds):.4g}") for rows in ROWS}
            for curve in rounds[0][setting]
        }
        for setting in SETTINGS
    }
    for setting, by_curve in found.items():
        print(f"\n{setting}: ms of a batch of\n{'':12}" + "".join(f"{rows:8}" for rows in ROWS))
        for curve, seconds in by_curve.items():
            print(f"{curve:12}" + "".join(f"{seconds[rows] * 1e3:8.3g}" for rows in ROWS))
    print(f"\n{quiet}")
    if not given.no_results:
        harness.keep(harness.HERE / "curves.json", {"runtime": runtime.VERSION, "seconds by rows": found})


def curves(files, seconds, quiet):
    """setting -> curve -> rows -> seconds."""
    found = {}
    for setting, (cores, threads, callers) in SETTINGS.items():
        os.sched_setaffinity(0, range(cores))
        found[setting] = {}
        for name, work in WORKLOADS.items():
            session = runtime.InferenceSession(files[name], session_options(threads))
            for curve, row in shapes(name, work):
                for _ in quiet.again():
                    found[setting][curve] = {
                        rows: timed(session, work.inputs(rows, row), callers, seconds) for rows in ROWS
                    }
    return found


def shapes(name, work):
    """(name of the curve, shape of a row)."""
    mixed = len(set(work.rows)) > 1
    return [(f"{name} {length}", (length,)) for length in LENGTHS] if mixed else [(name, work.rows[0])]


def timed(session, x, callers, seconds):
    """Seconds until one run of each caller is done, while all run all the time: for `seconds`, LEAST_RUNS at least."""
    session.run(None, {"x": x})
    started = time.perf_counter()

    def call():
        runs = 0
        while runs < LEAST_RUNS or time.perf_counter() < started + seconds:
            session.run(None, {"x": x})
            runs += 1
        return runs / (time.perf_counter() - started)

    with ThreadPoolExecutor(callers) as threads:
        return callers / sum(future.result() for future in [threads.submit(call) for _ in range(callers)])


if __name__ == "__main__":
    main()
