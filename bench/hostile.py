"""What one hostile gRPC peer costs the others: p50 and p99 of a lone client beside it, against alone. See README.md."""

import multiprocessing
import os
import socket
import tempfile
import time
from pathlib import Path

import harness
import models
import numpy as np
from hpack import Encoder
from rpc import GRPC, HTTP, SERVICE, framed, memory_kb, message

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
HEAD = [(":method", "POST"), (":scheme", "http"), (":path", f"/{SERVICE}/ModelInfer"), (":authority", "x")]
HEAD += [("content-type", "application/grpc"), ("te", "trailers")]


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def streams(said):
    """`said(stream, block)` for ever new streams, in pieces of a hundred."""

    def pieces():
        block = Encoder().encode(HEAD, huffman=False)
        stream = 1
        while True:
            yield b"".join(said(number, block) for number in range(stream, stream + 200, 2))
            stream += 200

    return pieces


def for_ever(piece, first=b""):
    def pieces():
        yield first
        while True:
            yield piece

    return pieces


CALL = framed(message("tiny", np.zeros((1, 64), np.float32)))
BOMB = b"\x40\x01a\x7f\xa1\x1e" + b"x" * 4000
FLOODS = {
    "nothing, but a busy load core": "busy",
    "rapid reset": streams(lambda number, block: frame(1, 4, number, block) + frame(3, 0, number, b"\0\0\0\x08")),
    "made you reset": streams(lambda number, block: frame(1, 4, number, block) + frame(8, 0, number, bytes(4))),
    "PING": for_ever(frame(6, 0, 0, bytes(8)) * 500),
    "SETTINGS": for_ever(frame(4, 0, 0) * 500),
    "CONTINUATION": for_ever(frame(9, 0, 1) * 500, frame(1, 0, 1)),
    "header bombs": streams(lambda number, block: frame(1, 4, number, BOMB) + frame(1, 4, number + 1, b"\xbe" * 200)),
    "empty DATA": for_ever(frame(0, 0, 1) * 500, frame(1, 4, 1, Encoder().encode(HEAD))),
    "slivers of a message": for_ever(frame(0, 0, 1, b"\0") * 500, frame(1, 4, 1, Encoder().encode(HEAD))),
    "WINDOW_UPDATE by 1": for_ever(frame(8, 0, 0, b"\0\0\0\1") * 500),
    "calls whose answers are never read": streams(
        lambda number, block: frame(1, 4, number, block) + frame(0, 1, number, CALL)
    ),
    "connections that say nothing": None,
}


def flood(pieces, port, ended, stop):
    """From one core, as fast as it can; a connection that is ended is opened again."""
    os.sched_setaffinity(0, {int(harness.LOAD_CORE)})
    held = []
    while pieces == "busy" and not stop.value:
        pass
    while not stop.value:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            if pieces is None:
                held.append(connection.dup())
                ended.value += 1
                if len(held) > 2000:
                    time.sleep(0.1)
                continue
            connection.settimeout(0.5)
            try:
                connection.sendall(PREFACE)
                for piece in pieces():
                    if stop.value:
                        return
                    connection.sendall(piece)
            except OSError:
                ended.value += not stop.value


def lone(port, data, seconds):
    """(p50, p99) in us of one call at a time."""
    import grpc

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        call(data)
        taken, end = [], time.perf_counter() + seconds
        while time.perf_counter() < end:
            start = time.perf_counter()
            call(data)
            taken.append((time.perf_counter() - start) * 1e6)
    return [sorted(taken)[int(len(taken) * share)] for share in (0.5, 0.99)]


def main():
    given = harness.options(__doc__, rounds=3, seconds=2)
    harness.need("taskset")
    os.sched_setaffinity(0, {int(harness.LOAD_CORE)})
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), given)


def measure(folder, given):
    models.mlp(folder / "models" / "tiny" / "1" / "model.onnx", 64, 64, 8)
    data = message("tiny", np.random.default_rng(1).random((1, 64), np.float32))
    found = {}
    with harness.running(harness.serve(folder / "models", HTTP, GRPC)) as (server,):
        harness.wait_until_ready(HTTP)
        lone(GRPC, data, 1)
        for name, pieces in FLOODS.items():
            for _ in range(given.rounds):
                alone = lone(GRPC, data, given.seconds)
                before = memory_kb(server.pid)
                ended, stop = multiprocessing.Value("i"), multiprocessing.Value("b")
                child = multiprocessing.get_context("fork").Process(target=flood, args=(pieces, GRPC, ended, stop))
                child.start()
                beside = lone(GRPC, data, given.seconds)
                grown = memory_kb(server.pid) - before
                stop.value = 1
                child.join(10)
                child.kill()
                row = {
                    "p50 beside / alone": beside[0] / alone[0],
                    "p99 beside / alone": beside[1] / alone[1],
                    "connections ended per second": ended.value / given.seconds,
                    "server grown by KB": grown,
                }
                found.setdefault(name, []).append({what: round(value, 2) for what, value in row.items()})
                print(f"{name:40}", found[name][-1], flush=True)
    if not given.no_results:
        harness.keep(harness.HERE / "results" / "hostile.json", {"seconds": given.seconds, "rounds": found})


if __name__ == "__main__":
    main()
