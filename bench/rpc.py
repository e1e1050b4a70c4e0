"""gRPC against an empty grpc.aio echo, interleaved, server on one core and load generator on another. See README.md."""

import asyncio
import re
import resource
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import harness
import models
import numpy as np
from tritonclient.grpc import service_pb2 as pb

ECHO, HTTP, GRPC = 9102, 9103, 9104
SERVICE = "inference.GRPCInferenceService"
IDLE = 10_000
STREAM_MESSAGES = 128
"""That a stream's client has under way."""


def message(model, x):
    made = pb.ModelInferRequest(model_name=model, raw_input_contents=[x.tobytes()])
    made.inputs.add(name="x", datatype="FP32", shape=x.shape)
    return made.SerializeToString()


def framed(data):
    return b"\0" + len(data).to_bytes(4, "big") + data


def h2load(port, frame, seconds, *shape):
    """Calls/s. Raises if a single call failed on the HTTP level."""
    url = f"http://127.0.0.1:{port}/{SERVICE}/ModelInfer"
    headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    command = [
        "taskset",
        "-c",
        harness.LOAD_CORE,
        "h2load",
        *shape,
        "-t1",
        f"-D{seconds}",
        "-d",
        str(frame),
        *headers,
        url,
    ]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if " 0 failed, 0 errored, 0 timeout" not in text:
        raise SystemExit(f"calls failed under load:\n{text}")
    return float(re.search(r"finished in .*, ([\d.]+) req/s", text)[1])


def cpu_s(pid):
    """CPU seconds of a process and its children, so far."""
    pids = [
        pid,
        *map(
            int, subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout.split()
        ),
    ]
    fields = [Path(f"/proc/{each}/stat").read_text().rsplit(")", 1)[1].split() for each in pids]
    return sum(int(field[11]) + int(field[12]) for field in fields) / 100


def memory_kb(pid):
    """Resident memory of its children that is theirs alone, in KB."""
    pids = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=True).stdout.split()
    text = "".join(Path(f"/proc/{each}/smaps_rollup").read_text() for each in pids)
    return sum(map(int, re.findall(r"Private_\w+: +(\d+) kB", text)))


def lone_p50_us(port, data, seconds):
    """Of one call at a time by grpcio's blocking client."""
    import grpc

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        taken, end = [], time.perf_counter() + seconds
        while time.perf_counter() < end:
            start = time.perf_counter()
            call(data)
            taken.append(time.perf_counter() - start)
    return sorted(taken)[len(taken) // 2] * 1e6


def stream_rate(port, data, seconds):
    """Messages/s on one stream with STREAM_MESSAGES under way, by a client that knows no more HTTP/2 than it needs."""
    from hpack import Encoder

    head = [(":method", "POST"), (":scheme", "http"), (":path", f"/{SERVICE}/ModelStreamInfer"), (":authority", "x")]
    block = Encoder().encode([*head, ("content-type", "application/grpc"), ("te", "trailers")])

    def frame(kind, flags, stream, payload):
        return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload

    one = frame(0, 0, 1, framed(data))
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        windows = frame(4, 0, 0, b"\0\4\x7f\xff\xff\xff") + frame(8, 0, 0, (2**31 - 65536).to_bytes(4, "big"))
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + windows + frame(1, 4, 1, block))
        connection.sendall(one * STREAM_MESSAGES)
        answers, rest, end = 0, b"", time.perf_counter() + seconds
        start = time.perf_counter()
        while time.perf_counter() < end:
            rest += connection.recv(1 << 20)
            came = 0
            while len(rest) >= 9 and len(rest) >= 9 + int.from_bytes(rest[:3], "big"):
                came += rest[3] == 0
                if rest[3] in (3, 7):
                    raise SystemExit(f"the stream was ended: {rest[:60]}")
                rest = rest[9 + int.from_bytes(rest[:3], "big") :]
            answers += came
            if came:
                connection.sendall(one * came)
        return answers / (time.perf_counter() - start)


def idle_kb(server, port, count):
    """Memory that a connection takes which has had a call, and has none: the difference by many, in KB each."""
    call = framed(message("tiny", np.zeros((1, 64), np.float32)))
    from hpack import Encoder

    head = [(":method", "POST"), (":scheme", "http"), (":path", f"/{SERVICE}/ModelInfer"), (":authority", "x")]
    block = Encoder().encode([*head, ("content-type", "application/grpc"), ("te", "trailers")])
    said = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
    said += (
        len(block).to_bytes(3, "big") + b"\1\4\0\0\0\1" + block + len(call).to_bytes(3, "big") + b"\0\1\0\0\0\1" + call
    )

    async def hold():
        before = memory_kb(server.pid)
        open_ones = []
        for _ in range(count // 100):
            pairs = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", port) for _ in range(100)))
            for _, writer in pairs:
                writer.write(said)
            await asyncio.gather(*(reader.readuntil(b"grpc-status") for reader, _ in pairs))
            open_ones += pairs
        after = memory_kb(server.pid)
        for _, writer in open_ones:
            writer.transport.abort()
        return (after - before) / count

    return asyncio.run(hold())


def main():
    given = harness.options(__doc__, rounds=7, seconds=2)
    harness.need("wrk", "h2load", "taskset")
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), given)


def measure(folder, given):
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    idle_ones = min(IDLE, most - 1000)
    file = folder / "models" / "tiny" / "1" / "model.onnx"
    models.mlp(file, 64, 64, 8)
    large = folder / "models" / "large" / "1" / "model.onnx"
    models.mlp(large, 150_000, 1, 8)
    x, image = (np.random.default_rng(1).random((1, size), np.float32) for size in (64, 150_000))
    frame, image_frame = folder / "frame", folder / "image"
    data = message("tiny", x)
    frame.write_bytes(framed(data))
    image_frame.write_bytes(framed(message("large", image)))
    script = harness.wrk_script(folder / "image.lua", *harness.binary_request(image, "FP32"))
    small_script = harness.wrk_script(folder / "small.lua", *harness.binary_request(x, "FP32"))
    with harness.running(
        [str(harness.HERE / "echoes.py"), "grpc", str(ECHO)], harness.serve(folder / "models", HTTP, GRPC)
    ) as (echo, server):
        harness.wait_until_ready(HTTP)
        harness.wait_until_open(ECHO)
        harness.check(HTTP, "tiny", x, "FP32", file)
        url = "http://127.0.0.1:{}/v2/models/{}/infer".format
        seconds = given.seconds

        def rate_and_cpu(pid, port, *shape):
            before = cpu_s(pid)
            rate = h2load(port, frame, seconds, *shape)
            return rate, (cpu_s(pid) - before) / (rate * seconds) * 1e6

        def each_round():
            found = {}
            for name, shape in (("32", ("-c32", "-m1")), ("4x8", ("-c4", "-m8"))):
                found[f"echo {name}"], found[f"echo {name} cpu us"] = rate_and_cpu(echo.pid, ECHO, *shape)
                found[f"grpc {name}"], found[f"grpc {name} cpu us"] = rate_and_cpu(server.pid, GRPC, *shape)
            found["rest 32"] = harness.wrk(url(HTTP, "tiny"), small_script, 32, seconds)[0]
            found["lone echo p50 us"] = lone_p50_us(ECHO, data, seconds)
            found["lone grpc p50 us"] = lone_p50_us(GRPC, data, seconds)
            found["rest 600 KB"] = harness.wrk(url(HTTP, "large"), script, 4, seconds)[0]
            found["grpc 600 KB"] = h2load(GRPC, image_frame, seconds, "-c4", "-m1")
            found["stream messages"] = stream_rate(GRPC, data, seconds)
            return found

        each_round()  # warm up
        rounds = [each_round() for _ in range(given.rounds)]
        idle = idle_kb(server, GRPC, idle_ones)
    ratios = {
        "gRPC infer / grpc.aio echo, 32 connections (bar 8)": lambda r: r["grpc 32"] / r["echo 32"],
        "gRPC infer / grpc.aio echo, 4 x 8 streams (bar 10)": lambda r: r["grpc 4x8"] / r["echo 4x8"],
        "CPU of an echo / of an infer, 32 connections": lambda r: r["echo 32 cpu us"] / r["grpc 32 cpu us"],
        "CPU of an echo / of an infer, 4 x 8 streams": lambda r: r["echo 4x8 cpu us"] / r["grpc 4x8 cpu us"],
        "gRPC / REST binary, 32 connections": lambda r: r["grpc 32"] / r["rest 32"],
        "lone p50 / echo's (bar 1)": lambda r: r["lone grpc p50 us"] / r["lone echo p50 us"],
        "600 KB, gRPC / REST binary (bar 0.9)": lambda r: r["grpc 600 KB"] / r["rest 600 KB"],
        "messages/s on one stream (bar 10,000)": lambda r: r["stream messages"],
        "KB per idle connection (bar 20)": lambda r: idle,
    }
    harness.report("grpc", rounds, ratios, given)


if __name__ == "__main__":
    main()
