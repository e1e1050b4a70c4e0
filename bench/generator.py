"""The load tester against wrk and a bare grpc.aio loop: the same echo servers on one core, the generator on another.

Interleaved. `headrace loadtest` runs as users run it over HTTP; over gRPC it is given its request, as an echo has no
metadata. See README.md.
"""

import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import harness

ECHO_HTTP, ECHO_GRPC = 9111, 9112
CONNECTIONS = 32
METHOD = "/inference.GRPCInferenceService/ModelInfer"


def main():
    given = harness.options(__doc__, rounds=7, seconds=3)
    harness.need("wrk", "taskset")
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), given)


def measure(folder, given):
    body = folder / "body.json"
    data = [0.5 + number / 100 for number in range(64)]
    body.write_bytes(harness.compact({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 64], "data": data}]}))
    script = harness.wrk_script(folder / "json.lua", body.read_bytes(), {"content-type": "application/json"})
    url, echoes = f"http://127.0.0.1:{ECHO_HTTP}/", str(harness.HERE / "echoes.py")

    def loadtest(*more):
        out = folder / "run.json"
        line = [sys.executable, "-m", "server", "loadtest", url, "--body", str(body), "-c", str(CONNECTIONS)]
        line += ["-d", str(given.seconds), "--warm-up", "0.5", "--metrics", "http://127.0.0.1:9/", "--out", str(out)]
        subprocess.run(["taskset", "-c", harness.LOAD_CORE, *line, *more], capture_output=True, check=True)
        (found,) = json.loads(out.read_text())["runs"]
        return found["per_s"], 1e3 * found["latency_ms"]["p50"], 1e6 * found["generator"]["cpu"] / found["per_s"]

    def calls(kind):
        line = [sys.executable, __file__, kind, str(given.seconds)]
        done = subprocess.run(["taskset", "-c", harness.LOAD_CORE, *line], capture_output=True, text=True, check=True)
        return float(done.stdout)

    def once():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        wrk_s, wrk_us = harness.wrk(url, script, CONNECTIONS, given.seconds)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        wrk_cpu_s = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
        own_s, own_us, own_cpu_us = loadtest()
        checked_s, _, _ = loadtest("--check", "first")
        return {
            "wrk": wrk_s,
            "wrk p50 us": wrk_us,
            "wrk CPU us": 1e6 * wrk_cpu_s / given.seconds / wrk_s,
            "loadtest": own_s,
            "loadtest p50 us": own_us,
            "loadtest CPU us": own_cpu_us,
            "loadtest --check": checked_s,
            "grpc.aio": calls("bare"),
            "loadtest gRPC": calls("loadtest"),
        }

    with harness.running([echoes, "http", str(ECHO_HTTP)], [echoes, "grpc", str(ECHO_GRPC)]):
        harness.wait_until_open(ECHO_HTTP, ECHO_GRPC)
        once()  # warm up
        rounds = [once() for _ in range(given.rounds)]
    ratios = {
        "loadtest / wrk (bar 0.5)": lambda r: r["loadtest"] / r["wrk"],
        "with --check first / wrk": lambda r: r["loadtest --check"] / r["wrk"],
        "p50 / wrk's (bar 1.15)": lambda r: r["loadtest p50 us"] / r["wrk p50 us"],
        "CPU per request / wrk's": lambda r: r["loadtest CPU us"] / r["wrk CPU us"],
        "gRPC / bare grpc.aio loop (bar 0.9)": lambda r: r["loadtest gRPC"] / r["grpc.aio"],
    }
    harness.report("generator", rounds, ratios, given)


# -- the two gRPC clients, in processes of their own -------------------------------------------------------------------


def request():
    from tritonclient.grpc import service_pb2 as pb

    message = pb.ModelInferRequest(model_name="tiny", raw_input_contents=[bytes(256)])
    message.inputs.add(name="x", datatype="FP32", shape=[1, 64])
    return message.SerializeToString()


def own_calls(seconds):
    """Answers/s of the load tester."""
    from loadtest.attack import Course
    from loadtest.load import Load
    from loadtest.shot import Shot
    from loadtest.where import parse
    from loadtest.workers import Job, run

    job = Job(parse(f"grpc://127.0.0.1:{ECHO_GRPC}"), [Shot("tiny", request())], Course(0.5, seconds))
    tally, _ = run(job, Load(CONNECTIONS))
    assert tally.ok == tally.sent
    return tally.ok / tally.seconds


async def bare_calls(seconds):
    """Answers/s of clients that ask again when they are answered, over as many channels as the load tester opens."""
    import grpc

    from loadtest.rpc import MOST_CHANNELS

    channels = [
        grpc.aio.insecure_channel(f"127.0.0.1:{ECHO_GRPC}", (("own", number),)) for number in range(MOST_CHANNELS)
    ]
    begins, counted, data = time.monotonic() + 0.5, 0, request()

    async def client(channel):
        nonlocal counted
        call = channel.unary_unary(METHOD)
        while time.monotonic() < begins + seconds:
            await call(data)
            counted += time.monotonic() >= begins

    await asyncio.gather(*(client(channels[number % len(channels)]) for number in range(CONNECTIONS)))
    for channel in channels:
        await channel.close()
    return counted / seconds


if __name__ == "__main__":
    if sys.argv[1:2] == ["loadtest"]:
        print(own_calls(float(sys.argv[2])))
    elif sys.argv[1:2] == ["bare"]:
        import uvloop

        print(uvloop.run(bare_calls(float(sys.argv[2]))))
    else:
        main()
