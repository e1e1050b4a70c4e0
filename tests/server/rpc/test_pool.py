"""The gRPC port of several replicas: one accept queue, emptied by whoever has the fewest connections."""

import contextlib
import os
import re
import signal
import socket
import time

import pytest
from hpack import Encoder
from live import serving

from server.rpc.http2 import frames
from server.rpc.http2.settings import settings

pytestmark = pytest.mark.slow

LIVE = [
    (":method", "POST"), (":scheme", "http"), (":path", "/inference.GRPCInferenceService/ServerLive"),
    (":authority", "here"), ("content-type", "application/grpc"), ("te", "trailers"),
]  # fmt: skip
ASKED = (
    frames.PREFACE
    + settings({})
    + frames.frame(frames.HEADERS, frames.END_HEADERS, 1, Encoder().encode(LIVE))
    + frames.frame(frames.DATA, frames.END_STREAM, 1, bytes(5))
)
"""A connection that asks whether the server lives."""
CLIENTS = 40


def connect(server, stack, count):
    address = "127.0.0.1", server.grpc_port
    clients = [stack.enter_context(socket.create_connection(address, timeout=20)) for _ in range(count)]
    for client in clients:
        client.sendall(ASKED)
    return clients


def answered(client):
    """Whether the call was answered well before the connection ended."""
    said = b""
    while b"grpc-status" not in said:
        received = client.recv(4096)
        if not received:
            return False
        said += received
    return b"grpc-status\x010" in said


def connections(server):
    """Open gRPC connections by replica."""
    found = re.findall(r"headrace_grpc_connections\{.*\} (\d+)", server.get("/metrics").decode())
    return [int(count) for count in found]


def test_clients_are_spread_evenly_and_those_of_a_killed_replica_find_the_other(repository):
    with serving(repository, replicas=2) as server, contextlib.ExitStack() as stack:
        for _ in range(CLIENTS):
            assert all(map(answered, connect(server, stack, 1)))
        counts = connections(server)
        assert sum(counts) == CLIENTS
        assert max(counts) - min(counts) <= 4, "a replica that is busy for some milliseconds may miss its turn"
        os.kill(server.booted_pids()[0], signal.SIGKILL)
        assert all(map(answered, connect(server, stack, 4))), "nobody waits in a queue that has died"
        server.wait_for("is back after")


def test_calls_of_connections_that_nobody_has_accepted_are_answered_when_the_server_ends(repository):
    with serving(repository) as server, contextlib.ExitStack() as stack:
        (pid,) = server.booted_pids()
        os.kill(pid, signal.SIGSTOP)
        clients = connect(server, stack, 5)
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("draining, at most")
        time.sleep(0.2)
        os.kill(pid, signal.SIGCONT)
        assert all(map(answered, clients))
