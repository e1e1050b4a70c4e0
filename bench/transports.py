"""What it takes to hand a tensor to another process and get a small answer, by ways that were considered for engines.

One request at a time, between two processes that wait for each other, p50. `pyzmq` is measured where it is installed.
"""

import argparse
import contextlib
import os
import socket
import statistics
import sys
import time
from multiprocessing import Pipe, Process, shared_memory

import numpy as np

from executor.link import frames
from executor.link.arena import Arena
from executor.link.parcel import Parcel, pack, unpack

SIZES = {"256 B": 64, "600 KB": 150_528}
ROOM = 4 << 20
DONE = b"done"


def ours(x, rounds):
    """Shared memory, and msgpack over a Unix socket: what `executor.link` does, without an event loop."""
    import msgspec

    runs = Arena.create(ROOM)
    here, there = socket.socketpair()
    decode = msgspec.msgpack.Decoder(Parcel).decode

    def other():
        here.close()
        mine = Arena(runs.fd)
        while (message := frames.receive(there)) is not None:
            inputs, _ = unpack(decode(message), mine)
            touch(inputs["x"])
            frames.send(there, DONE)

    def ask():
        parcel = pack({"x": x}, runs)
        frames.send(here, msgspec.msgpack.encode(parcel))
        frames.receive(here)
        runs.give_back(parcel.start)

    with child(other):
        there.close()
        yield from timed(ask, rounds)
        here.close()


def pipe(x, rounds):
    """multiprocessing.Pipe: arrays are pickled."""
    here, there = Pipe()

    def other():
        here.close()
        with contextlib.suppress(EOFError):
            while True:
                touch(there.recv())
                there.send_bytes(DONE)

    def ask():
        here.send(x)
        here.recv_bytes()

    with child(other):
        there.close()
        yield from timed(ask, rounds)
        here.close()


def shared_and_eventfd(x, rounds):
    """multiprocessing.shared_memory of a fixed shape, and an eventfd in each direction: the least there can be."""
    memory = shared_memory.SharedMemory(create=True, size=x.nbytes)
    place = np.ndarray(x.shape, x.dtype, memory.buf)
    go, back = os.eventfd(0), os.eventfd(0)

    def other():
        while os.eventfd_read(go) == 1:
            touch(place)
            os.eventfd_write(back, 1)

    def ask():
        place[...] = x
        os.eventfd_write(go, 1)
        os.eventfd_read(back)

    with child(other):
        yield from timed(ask, rounds)
        os.eventfd_write(go, 2)
    memory.close()
    memory.unlink()


def zeromq(x, rounds):
    """pyzmq over ipc, the array as a frame of its own, not copied in Python."""
    import zmq

    address = f"ipc:///tmp/headrace-{os.getpid()}"

    def other():
        end = zmq.Context().socket(zmq.PAIR)
        end.connect(address)
        while (parts := end.recv_multipart(copy=False))[0].bytes:
            touch(np.frombuffer(parts[1].buffer, x.dtype).reshape(x.shape))
            end.send(DONE)

    end = zmq.Context().socket(zmq.PAIR)
    end.bind(address)

    def ask():
        end.send_multipart([b"x", x], copy=False)
        end.recv()

    with child(other):
        yield from timed(ask, rounds)
        end.send(b"")
    end.close()


WAYS = {
    "shared memory and a socket (ours)": ours,
    "multiprocessing.Pipe": pipe,
    "shared_memory and eventfd": shared_and_eventfd,
    "pyzmq, ipc": zeromq,
}


@contextlib.contextmanager
def child(work):
    process = Process(target=work)
    process.start()
    yield
    process.join(5)
    process.kill()


def touch(array):
    return array.sum()


def timed(ask, rounds):
    for _ in range(50):
        ask()
    for _ in range(rounds):
        started = time.perf_counter()
        ask()
        yield time.perf_counter() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    for size, count in SIZES.items():
        x = np.ones((1, count), np.float32)
        started = time.perf_counter()
        for _ in range(given.rounds):
            touch(x)
        print(f"{size}: looking at it alone takes {(time.perf_counter() - started) / given.rounds * 1e6:.0f} us")
        for name, way in WAYS.items():
            try:
                found = [statistics.median(way(x, given.rounds)) * 1e6 for _ in range(given.repeat)]
            except ImportError:
                print(f"  {name}: not installed", file=sys.stderr)
                continue
            print(f"  {name:36} p50 {statistics.median(found):7.0f} us   {min(found):.0f} .. {max(found):.0f}")


if __name__ == "__main__":
    main()
