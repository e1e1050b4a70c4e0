"""What a refusal costs in overload against an answer, in CPU of the server: REST JSON, REST binary, gRPC.

A refused request has 0.01 ms to live and goes to a model that takes longer, so all but one a second are refused on
arrival; an answered one, with the same tensor, goes to a model of one small layer. CPU time, not requests per second:
the load generator, on the other core, may be the slower one.
"""

import re
import subprocess
import tempfile
from pathlib import Path

import harness
import models
import numpy as np
import psutil
from frontend import RPC
from tritonclient.grpc import service_pb2 as pb

HTTP, GRPC = 9107, 9108
WIDTHS = {"256 B": 64, "4 KiB": 1024}
WAYS = ("json", "binary", "grpc")
LATE = {"headrace-timeout-ms": "0.01"}
MOST_TRIED = 0.05
"""Share of the requests that may be answered although they are to be refused."""


def wrk(script, model, seconds):
    """Requests/s at 32 connections, and the share that was refused."""
    url = f"http://127.0.0.1:{HTTP}/v2/models/{model}/infer"
    command = ["taskset", "-c", harness.LOAD_CORE, "wrk", "-t1", "-c32", f"-d{seconds}", "-s", str(script), url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Socket errors" in text:
        raise SystemExit(f"requests failed under load:\n{text}")
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    sent = int(re.search(r"(\d+) requests in", text)[1])
    return sent / seconds, int(refused[1]) / sent if refused else 0.0


def h2load(frame, headers, seconds):
    """Calls/s of 32 connections with one stream each."""
    given = [word for name, value in headers.items() for word in ("-H", f"{name}: {value}")]
    load = ["h2load", "-c32", "-m1", "-t1", f"-D{seconds}", "-d", str(frame), *given]
    command = ["taskset", "-c", harness.LOAD_CORE, *load, f"http://127.0.0.1:{GRPC}/{RPC}"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if " 0 failed, 0 errored, 0 timeout" not in text:
        raise SystemExit(f"calls failed under load:\n{text}")
    return float(re.search(r"finished in .*, ([\d.]+) req/s", text)[1])


def cpu_s(server):
    """Of all its processes so far."""
    return sum(sum(each.cpu_times()[:2]) for each in (server, *server.children(recursive=True)))


def cells(repository, folder, seconds):
    """name -> what sends that load for so long and gives requests/s; its models are put into the repository."""
    found = {}
    for size, width in WIDTHS.items():
        x = np.random.default_rng(1).random((1, width), np.float32)
        tensor = {"name": "x", "datatype": "FP32", "shape": [1, width]}
        bodies = {
            "json": (harness.compact({"inputs": [tensor | {"data": x.ravel().tolist()}]}), {}),
            "binary": harness.binary_request(x, "FP32"),
        }
        for what, layers, more in (("refused", 40, LATE), ("answered", 0, {})):
            model = f"{what}{width}"
            models.mlp(repository / model / "1" / "model.onnx", *[width] * (layers + 1), 8)
            for way, (body, headers) in bodies.items():
                script = harness.wrk_script(folder / f"{model}.{way}.lua", body, headers | more)

                def rest(script=script, model=model, all_refused=bool(more)):
                    rate, refused = wrk(script, model, seconds)
                    if abs(refused - all_refused) > MOST_TRIED:
                        raise SystemExit(f"{refused:.1%} of the requests for {model} were refused")
                    return rate

                found[f"{way} {size} {what}"] = rest
            message = pb.ModelInferRequest(model_name=model, raw_input_contents=[x.tobytes()])
            message.inputs.add(name="x", datatype="FP32", shape=[1, width])
            data = message.SerializeToString()
            frame = folder / f"{model}.frame"
            frame.write_bytes(b"\0" + len(data).to_bytes(4, "big") + data)
            headers = {"content-type": "application/grpc", "te": "trailers"} | more
            found[f"grpc {size} {what}"] = lambda frame=frame, headers=headers: h2load(frame, headers, seconds)
    return found


def main():
    given = harness.options(__doc__, rounds=5, seconds=2)
    harness.need("wrk", "h2load", "taskset")
    with tempfile.TemporaryDirectory() as models_folder, tempfile.TemporaryDirectory() as folder:
        loads = cells(Path(models_folder), Path(folder), given.seconds)
        with harness.running(harness.serve(models_folder, HTTP, GRPC)) as (process,):
            harness.wait_until_ready(HTTP)
            server = psutil.Process(process.pid)

            def cost_us(load):
                before = cpu_s(server)
                requests = load() * given.seconds
                return (cpu_s(server) - before) / requests * 1e6

            for load in loads.values():
                load()  # warm up
            rounds = [{name: cost_us(load) for name, load in loads.items()} for _ in range(given.rounds)]
    ratios = {
        f"{way} {size}: a refusal / an answer": lambda r, cell=f"{way} {size}": (
            r[f"{cell} refused"] / r[f"{cell} answered"]
        )
        for way in WAYS
        for size in WIDTHS
    }
    harness.report("refusals", rounds, ratios, given)


if __name__ == "__main__":
    main()
