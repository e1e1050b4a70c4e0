"""Front ends against empty echoes, interleaved, server on one core and load generator on another. See README.md."""

import re
import subprocess
import tempfile
from pathlib import Path

import harness
import models
import numpy as np
from tritonclient.grpc import service_pb2 as pb

ECHO_HTTP, ECHO_GRPC, HTTP, GRPC = 9101, 9102, 9103, 9104
INFER = f"http://127.0.0.1:{HTTP}/v2/models/tiny/infer"
RPC = "inference.GRPCInferenceService/ModelInfer"


def h2load(port, frame, seconds):
    """Calls/s of 32 connections with one stream each. Raises if a single call failed on the HTTP level."""
    headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    load = [
        "h2load",
        "-c32",
        "-m1",
        "-t1",
        f"-D{seconds}",
        "-d",
        str(frame),
        *headers,
        f"http://127.0.0.1:{port}/{RPC}",
    ]
    command = ["taskset", "-c", harness.LOAD_CORE, *load]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if " 0 failed, 0 errored, 0 timeout" not in text:
        raise SystemExit(f"calls failed under load:\n{text}")
    return float(re.search(r"finished in .*, ([\d.]+) req/s", text)[1])


def main():
    given = harness.options(__doc__, rounds=7, seconds=2)
    harness.need("wrk", "h2load", "taskset")
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), given)


def measure(folder, given):
    model = folder / "models" / "tiny" / "1" / "model.onnx"
    models.mlp(model, 64, 64, 8)
    x = np.random.default_rng(1).random((1, 64), np.float32)
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 64]}
    plain = harness.compact({"inputs": [tensor | {"data": x.ravel().tolist()}]})
    json_script = harness.wrk_script(folder / "json.lua", plain, {"content-type": "application/json"})
    binary_script = harness.wrk_script(folder / "binary.lua", *harness.binary_request(x, "FP32"))
    message = pb.ModelInferRequest(model_name="tiny", raw_input_contents=[x.tobytes()])
    message.inputs.add(name="x", datatype="FP32", shape=[1, 64])
    data = message.SerializeToString()
    frame = folder / "frame"
    frame.write_bytes(b"\0" + len(data).to_bytes(4, "big") + data)
    echoes = str(harness.HERE / "echoes.py")
    server = harness.serve(folder / "models", HTTP, GRPC)
    with harness.running([echoes, "http", str(ECHO_HTTP)], [echoes, "grpc", str(ECHO_GRPC)], server):
        harness.wait_until_ready(HTTP)
        harness.wait_until_open(ECHO_HTTP, ECHO_GRPC)
        harness.check(HTTP, "tiny", x, "FP32", model)
        echo = f"http://127.0.0.1:{ECHO_HTTP}/"
        cells = {
            "echo": lambda: harness.wrk(echo, json_script, 32, given.seconds)[0],
            "json": lambda: harness.wrk(INFER, json_script, 32, given.seconds)[0],
            "binary": lambda: harness.wrk(INFER, binary_script, 32, given.seconds)[0],
            "grpc echo": lambda: h2load(ECHO_GRPC, frame, given.seconds),
            "grpc": lambda: h2load(GRPC, frame, given.seconds),
            "lone echo p50 us": lambda: harness.wrk(echo, json_script, 1, given.seconds)[1],
            "lone json p50 us": lambda: harness.wrk(INFER, json_script, 1, given.seconds)[1],
            "lone binary p50 us": lambda: harness.wrk(INFER, binary_script, 1, given.seconds)[1],
        }
        for cell in cells.values():
            cell()  # warm up
        rounds = [{name: cell() for name, cell in cells.items()} for _ in range(given.rounds)]
    ratios = {
        "JSON infer / ASGI echo (bar 1.1)": lambda r: r["json"] / r["echo"],
        "binary infer / JSON infer (bar 1.0)": lambda r: r["binary"] / r["json"],
        "gRPC infer / grpc.aio echo (bar 8)": lambda r: r["grpc"] / r["grpc echo"],
        "lone p50 - echo's, us (bar 40)": lambda r: r["lone json p50 us"] - r["lone echo p50 us"],
    }
    harness.report("frontend", rounds, ratios, given)


if __name__ == "__main__":
    main()
