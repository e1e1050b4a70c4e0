"""Front ends against empty echoes, interleaved, server on one core and load generator on another. See README.md."""

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tritonclient.grpc import service_pb2 as pb

HERE = Path(__file__).parent
ECHO_HTTP, ECHO_GRPC, HTTP, GRPC = 9101, 9102, 9103, 9104
INFER = f"http://127.0.0.1:{HTTP}/v2/models/tiny/infer"
RPC = "inference.GRPCInferenceService/ModelInfer"


def tiny_mlp(path):
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal(shape).astype("f4") for shape in ((64, 64), (64,), (64, 8), (8,))]
    names = ["w0", "b0", "w1", "b1"]
    nodes = [
        helper.make_node("Gemm", ["x", "w0", "b0"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w1", "b1"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 64])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 8])
    weights = [numpy_helper.from_array(each, name) for each, name in zip(weights, names, strict=True)]
    graph = helper.make_graph(nodes, "tiny", [x], [y], weights)
    path.parent.mkdir(parents=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def start(core, *command):
    return subprocess.Popen(
        ["taskset", "-c", str(core), sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def wrk(url, script, connections, seconds):
    """(requests/s, p50 in microseconds). Raises if a single answer was not 200."""
    command = f"taskset -c 1 wrk -t1 -c{connections} -d{seconds} --latency -s {script} {url}".split()
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(f"the server failed under load:\n{text}")
    value, unit = re.search(r"50%\s+([\d.]+)(us|ms|s)", text).groups()
    return float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]), float(value) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]


def h2load(port, frame, seconds):
    """Calls/s of 32 connections with one stream each. Raises if a single call failed on the HTTP level."""
    headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    command = ["taskset", "-c", "1", "h2load", "-c32", "-m1", "-t1", f"-D{seconds}", "-d", str(frame), *headers]
    text = subprocess.run(
        [*command, f"http://127.0.0.1:{port}/{RPC}"], capture_output=True, text=True, check=True
    ).stdout
    if " 0 failed, 0 errored, 0 timeout" not in text:
        raise SystemExit(f"calls failed under load:\n{text}")
    return float(re.search(r"finished in .*, ([\d.]+) req/s", text)[1])


def lua(path, body, headers):
    data = path.with_suffix(".body")
    data.write_bytes(body)
    lines = [f'local f = io.open("{data}", "rb")', 'wrk.method = "POST"', 'wrk.body = f:read("*a")']
    lines += [f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items()]
    path.write_text("\n".join(lines))
    return path


def wait_until_ready(deadline_s=60):
    end = time.monotonic() + deadline_s
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{HTTP}/v2/health/ready", timeout=1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise SystemExit("the server was not ready in time") from None
            time.sleep(0.1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--no-results", action="store_true", help="print only")
    options = parser.parse_args()
    for tool in ("wrk", "h2load", "taskset"):
        if shutil.which(tool) is None:
            print(f"{tool} is not installed: apt-get install wrk nghttp2-client util-linux", file=sys.stderr)
            sys.exit(2)
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), options)


def measure(folder, options):
    tiny_mlp(folder / "models" / "tiny" / "1" / "model.onnx")
    x = np.random.default_rng(1).random((1, 64), np.float32)
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 64]}
    plain = json.dumps({"inputs": [tensor | {"data": x.ravel().tolist()}]}, separators=(",", ":")).encode()
    head = json.dumps(
        {"inputs": [tensor | {"parameters": {"binary_data_size": 256}}], "parameters": {"binary_data_output": True}},
        separators=(",", ":"),
    ).encode()
    json_script = lua(folder / "json.lua", plain, {"content-type": "application/json"})
    binary_headers = {"content-type": "application/octet-stream", "inference-header-content-length": len(head)}
    binary_script = lua(folder / "binary.lua", head + x.tobytes(), binary_headers)
    message = pb.ModelInferRequest(model_name="tiny", raw_input_contents=[x.tobytes()])
    message.inputs.add(name="x", datatype="FP32", shape=[1, 64])
    data = message.SerializeToString()
    frame = folder / "frame"
    frame.write_bytes(b"\0" + len(data).to_bytes(4, "big") + data)
    server = ["-m", "server", "serve", str(folder / "models"), "--host", "127.0.0.1", "--replicas", "1"]
    processes = [
        start(0, str(HERE / "echoes.py"), "http", str(ECHO_HTTP)),
        start(0, str(HERE / "echoes.py"), "grpc", str(ECHO_GRPC)),
        start(0, *server, "--http-port", str(HTTP), "--grpc-port", str(GRPC), "--log-level", "warning"),
    ]
    try:
        wait_until_ready()
        check(plain, x, folder / "models" / "tiny" / "1" / "model.onnx")
        echo = f"http://127.0.0.1:{ECHO_HTTP}/"
        cells = {
            "echo": lambda: wrk(echo, json_script, 32, options.seconds)[0],
            "json": lambda: wrk(INFER, json_script, 32, options.seconds)[0],
            "binary": lambda: wrk(INFER, binary_script, 32, options.seconds)[0],
            "grpc echo": lambda: h2load(ECHO_GRPC, frame, options.seconds),
            "grpc": lambda: h2load(GRPC, frame, options.seconds),
            "lone echo p50 us": lambda: wrk(echo, json_script, 1, options.seconds)[1],
            "lone json p50 us": lambda: wrk(INFER, json_script, 1, options.seconds)[1],
            "lone binary p50 us": lambda: wrk(INFER, binary_script, 1, options.seconds)[1],
        }
        for cell in cells.values():
            cell()  # warm up
        rounds = [{name: cell() for name, cell in cells.items()} for _ in range(options.rounds)]
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
    report(rounds, options)


def check(body, x, model):
    """The answer under test is the model's own."""
    import onnxruntime

    request = urllib.request.Request(INFER, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        outputs = json.load(answer)["outputs"][0]["data"]
    expected = onnxruntime.InferenceSession(str(model)).run(None, {"x": x})[0][0]
    np.testing.assert_allclose(outputs, expected, rtol=1e-5)


def report(rounds, options):
    def spread(value):
        values = sorted(value(each) for each in rounds)
        return [round(each, 3) for each in (statistics.median(values), values[0], values[-1])]

    ratios = {
        "JSON infer / ASGI echo (bar 1.1)": spread(lambda r: r["json"] / r["echo"]),
        "binary infer / JSON infer (bar 1.0)": spread(lambda r: r["binary"] / r["json"]),
        "gRPC infer / grpc.aio echo (bar 0.7)": spread(lambda r: r["grpc"] / r["grpc echo"]),
        "lone p50 - echo's, us (bar 40)": spread(lambda r: r["lone json p50 us"] - r["lone echo p50 us"]),
    }
    for name, (median, low, high) in ratios.items():
        print(f"{name:40} median {median:8.2f}   {low:8.2f} .. {high:.2f}")
    if options.no_results:
        return
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    document = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip(),
        "machine": {
            "cpu": cpu[1] if cpu else platform.machine(),
            "cores": os.cpu_count(),
            "kernel": platform.release(),
            "python": platform.python_version(),
        },
        "seconds per cell": options.seconds,
        "median, least, most": ratios,
        "rounds": [{name: round(value, 1) for name, value in each.items()} for each in rounds],
    }
    (HERE / "results" / "frontend.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
