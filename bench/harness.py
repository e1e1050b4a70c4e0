"""What the benchmarks share: processes on their cores, load, medians of ratios, results with their machine."""

import argparse
import contextlib
import json
import os
import platform
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).parent
SERVER_CORE, LOAD_CORE = os.environ.get("BENCH_SERVER_CORES", "0"), os.environ.get("BENCH_LOAD_CORE", "1")
"""As `taskset` takes them. A server with a GPU needs more than one core: a thread that waits for it does so busily."""


def parser(doc, rounds, seconds):
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--seconds", type=type(seconds), default=seconds, help="per cell")
    parser.add_argument("--no-results", action="store_true", help="print only")
    return parser


def options(doc, rounds, seconds):
    return parser(doc, rounds, seconds).parse_args()


def need(*tools):
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        print(f"{', '.join(missing)} not installed: apt-get install wrk nghttp2-client util-linux", file=sys.stderr)
        sys.exit(2)


@contextlib.contextmanager
def running(*commands):
    """Python programs on the server's core, until the end of the block."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    processes = [
        subprocess.Popen(["taskset", "-c", SERVER_CORE, sys.executable, *command], **quiet) for command in commands
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def serve(models, http_port, grpc_port):
    """The command of a Headrace with one replica. Its models are opened anew each time: no cache of weights."""
    ports = ["--http-port", str(http_port), "--grpc-port", str(grpc_port)]
    return [
        "-m",
        "server",
        "serve",
        str(models),
        "--host",
        "127.0.0.1",
        "--replicas",
        "1",
        "--cache-max-bytes",
        "0",
        *ports,
    ]


def wait_until_ready(http_port, deadline_s=60):
    end = time.monotonic() + deadline_s
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{http_port}/v2/health/ready", timeout=1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise SystemExit("the server was not ready in time") from None
            time.sleep(0.1)


def wait_until_open(*ports, deadline_s=60):
    end = time.monotonic() + deadline_s
    for port in ports:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)


def wrk(url, script, connections, seconds):
    """(requests/s, p50 in microseconds). Raises if a single answer was not 200."""
    load = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--latency", "-s", str(script), url]
    text = subprocess.run(["taskset", "-c", LOAD_CORE, *load], capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(f"the server failed under load:\n{text}")
    value, unit = re.search(r"50%\s+([\d.]+)(us|ms|s)", text).groups()
    return float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]), float(value) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]


def wrk_script(path, body, headers):
    """A file that makes wrk POST `body`."""
    data = path.with_suffix(".body")
    data.write_bytes(body)
    lines = [f'local f = io.open("{data}", "rb")', 'wrk.method = "POST"', 'wrk.body = f:read("*a")']
    lines += [f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items()]
    path.write_text("\n".join(lines))
    return path


def compact(document):
    return json.dumps(document, separators=(",", ":")).encode()


def binary_request(x, datatype, **more):
    """(body, headers) of an infer request that sends `x`, and `more` of its kind, as binary tensors and wants them."""
    arrays = {"x": x, **more}
    tensors = [
        {"name": name, "datatype": datatype, "shape": each.shape, "parameters": {"binary_data_size": each.nbytes}}
        for name, each in arrays.items()
    ]
    head = compact({"inputs": tensors, "parameters": {"binary_data_output": True}})
    headers = {"content-type": "application/octet-stream", "inference-header-content-length": len(head)}
    return head + b"".join(each.tobytes() for each in arrays.values()), headers


def get(http_port, path):
    """The document there."""
    with urllib.request.urlopen(f"http://127.0.0.1:{http_port}{path}") as answer:
        return json.load(answer)


def infer(http_port, model, body):
    """The first output's data of one JSON request."""
    url = f"http://127.0.0.1:{http_port}/v2/models/{model}/infer"
    with urllib.request.urlopen(urllib.request.Request(url, body, {"content-type": "application/json"})) as answer:
        return json.load(answer)["outputs"][0]["data"]


def open_session(file, threads=1):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def check(http_port, model, x, datatype, file, share=1e-3):
    """The answer under test is the model's own, but for a `share` of the largest number."""
    import numpy as np

    tensor = {"name": "x", "datatype": datatype, "shape": x.shape, "data": x.ravel().tolist()}
    found = infer(http_port, model, compact({"inputs": [tensor]}))
    expected = open_session(str(file)).run(None, {"x": x})[0][0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 + share * np.abs(expected).max())


def report(name, rounds, ratios, given):
    """Print and keep median and range over the rounds of each ratio (name -> function of a round)."""

    def spread(value):
        values = sorted(value(each) for each in rounds)
        return [round(each, 3) for each in (statistics.median(values), values[0], values[-1])]

    found = {what: spread(value) for what, value in ratios.items()}
    for what, (median, low, high) in found.items():
        print(f"{what:50} median {median:8.2f}   {low:8.2f} .. {high:.2f}")
    if given.no_results:
        return
    keep(
        HERE / "results" / f"{name}.json",
        {
            "seconds per cell": given.seconds,
            "median, least, most": found,
            "rounds": [{cell: round(value, 2) for cell, value in each.items()} for each in rounds],
        },
    )


def gpu():
    if shutil.which("nvidia-smi") is None:
        return {}
    asked = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    return {"gpu": subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()}


def keep(path, found):
    """Write what was found, with when, of which commit and on what machine."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    commit = os.environ.get("BENCH_COMMIT") or subprocess.check_output(
        ["git", "rev-parse", "--short", "HEAD"], text=True
    )
    document = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit.strip(),
        "machine": {
            "cpu": cpu[1] if cpu else platform.machine(),
            "cores": os.cpu_count(),
            "kernel": platform.release(),
            "python": platform.python_version(),
            **gpu(),
        },
    }
    path.write_text(json.dumps(document | found, indent=1) + "\n")
