"""Clients that are slow, silent, gone, or too many: the others are served, and memory and queues stay what they were.

Against a live server that is impatient: what time does is told by hand in `test_shortcut.py`, here it really passes.
"""

import json
import socket
import struct
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest
from live import serving
from raw_http import DEADLINE_S, Connection, ask, chunked, eventually, request

RECEIVE_TIMEOUT_S, KEEP_ALIVE_S = 2.0, 3.0
GRID, LAZY = "/v2/models/grid/infer", "/v2/models/lazy/infer"
GOOD = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.5, -2]}]}


@pytest.fixture(scope="module")
def impatient(repository):
    flags = ("--receive-timeout-s", str(RECEIVE_TIMEOUT_S), "--keep-alive-s", str(KEEP_ALIVE_S))
    with serving(repository, *flags, "--max-body-bytes", "4000000", replicas=2) as running:
        yield running


@pytest.fixture(autouse=True)
def _everything_is_as_it_was(impatient):
    yield
    eventually(lambda: gauges(impatient) == {})
    assert is_right(ask(impatient.http_port, request(GRID, GOOD)))


@pytest.fixture
def connect(impatient):
    """Makes connections; those that are still there at the end of the test are reset."""
    made = []

    def connect(timeout=DEADLINE_S):
        made.append(Connection(impatient.http_port, timeout))
        return made[-1]

    yield connect
    for connection in made:
        reset(connection)


def is_right(answer):
    return answer.status == 200 and answer.document["outputs"][0]["data"] == [1.5, -2]


def gauges(server):
    """The two gauges of every model, where they are not 0."""
    lines = server.get("/metrics").decode().splitlines()
    names = ("headrace_queue_rows{", "headrace_requests_in_flight{")
    pairs = (line.rsplit(" ", 1) for line in lines if line.startswith(names))
    return {series: float(value) for series, value in pairs if float(value)}


def metric(server, series):
    lines = server.get("/metrics").decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(series))


def memory_of(server):
    return sum(psutil.Process(pid).memory_info().rss for pid in server.replica_pids())


def lazy(rows, **fields):
    """A request that keeps the model busy: some milliseconds per row."""
    document = {"inputs": [{"name": "h0", "datatype": "FP32", "shape": [rows, 512], "data": [0] * 512 * rows}]}
    return document | fields


def reset(connection):
    """Leave as a crashed client does: with a reset instead of an orderly end."""
    if connection.socket.fileno() < 0:
        return
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.socket.close()


def test_slow_senders_are_told_and_nobody_waits_for_them(impatient, connect):
    starts = [
        b"P",
        b"POST /v2/models/grid/infer HTTP/1.1\r\n",
        b"GET /v2 HTTP/1.1\r\nhost: x\r\n",
        request(GRID, GOOD)[:-1],
        chunked(GRID, GOOD)[:-1],
        request(GRID, b"{", content_length=1_000_000),
        request(GRID, b"\x1f\x8b", content_length=1000, content_encoding="gzip"),
        request("/v2/repository/index", b"{", content_length=1000),
    ]
    connections = [connect() for _ in starts * 5]
    for connection, start in zip(connections, starts * 5, strict=True):
        connection.send(start)
    assert is_right(ask(impatient.http_port, request(GRID, GOOD)))
    for connection in connections:
        answer = connection.answer()
        assert (answer.status, answer.headers["connection"]) == (408, "close")
        assert "2 s" in answer.error
        assert connection.closed()


def test_sender_of_a_byte_now_and_then_is_told(impatient):
    with Connection(impatient.http_port) as connection:
        data = request(GRID, GOOD)
        for at in range(len(data) - 1):
            if not connection.send(data[at : at + 1]) or connection.received():
                break
            threading.Event().wait(0.05)
        else:
            pytest.fail("it was awaited to the end")
        assert connection.answer().status == 408


def test_idle_and_silent_connections_are_closed(connect):
    silent = [connect() for _ in range(50)]
    used = connect()
    used.send(request(GRID, GOOD))
    assert is_right(used.answer())
    for connection in (*silent, used):
        assert connection.closed()


@pytest.mark.parametrize("leave", [reset, lambda connection: connection.socket.close()], ids=["reset", "close"])
@pytest.mark.parametrize("way", [request, chunked])
def test_client_that_leaves_a_queue_frees_its_place(impatient, connect, way, leave):
    before = metric(impatient, 'headrace_request_failures_total{model="lazy",reason="cancelled"')
    data = way(LAZY, lazy(500))
    connections = [connect() for _ in range(6)]
    for connection in connections:
        connection.send(data)
    eventually(lambda: metric(impatient, 'headrace_requests_in_flight{model="lazy"') == 6)
    for connection in connections:
        leave(connection)
    eventually(lambda: metric(impatient, 'headrace_requests_in_flight{model="lazy"') == 0)
    after = metric(impatient, 'headrace_request_failures_total{model="lazy",reason="cancelled"')
    assert after - before == 6


@pytest.mark.parametrize("way", [request, chunked])
def test_client_that_leaves_in_the_middle_of_its_request_leaves_nothing(impatient, way):
    data = way(GRID, GOOD)
    for cut in range(1, len(data), 5):
        connection = Connection(impatient.http_port)
        connection.send(data[:cut])
        (reset if cut % 2 else Connection.__exit__)(connection)
    eventually(lambda: metric(impatient, "headrace_http_connections{") == 1)


@pytest.mark.parametrize("way", [request, chunked])
def test_client_that_leaves_in_the_middle_of_its_answer_harms_nobody(impatient, connect, way):
    wide = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 500_000], "data": [0.5] * 500_000}]}
    data = way(GRID, wide)
    for _ in range(5):
        connection = connect()
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.send(data)
        assert connection.socket.recv(100).startswith(b"HTTP/1.1 200")
        reset(connection)
    assert is_right(ask(impatient.http_port, request(GRID, GOOD)))


@pytest.mark.parametrize("way", [request, chunked])
def test_client_that_closes_its_half_is_gone(impatient, way):
    """An answer may still reach it if it was ready; its place is free in any case."""
    for data in (way(GRID, GOOD), way(LAZY, lazy(100)), way(GRID, GOOD)[:-5]):
        with Connection(impatient.http_port) as connection:
            connection.send(data)
            connection.socket.shutdown(socket.SHUT_WR)
            connection.closed()
    eventually(lambda: gauges(impatient) == {})


@pytest.mark.parametrize("way", [request, chunked])
def test_clients_that_do_not_read_take_bounded_memory(impatient, connect, way):
    """Each sends requests with answers of a megabyte for as long as it is read from, and reads none."""
    floats = np.zeros((1, 250_000), "<f4")
    item = {"name": "x", "datatype": "FP32", "shape": [1, 250_000], "parameters": {"binary_data_size": floats.nbytes}}
    head = json.dumps({"inputs": [item], "parameters": {"binary_data_output": True}}).encode()
    data = way(GRID, head + floats.tobytes(), inference_header_content_length=len(head), size=100_000)
    before = memory_of(impatient)

    def send_until_it_is_not_taken(connection):
        try:
            for _ in range(60):
                connection.socket.sendall(data)
        except TimeoutError:
            return
        raise AssertionError("it is read from for ever")

    with ThreadPoolExecutor(8) as clients:
        list(clients.map(send_until_it_is_not_taken, [connect(timeout=0.5) for _ in range(8)]))
    assert memory_of(impatient) - before < 8 * 12_000_000
    assert is_right(ask(impatient.http_port, request(GRID, GOOD)))


def test_crowd_that_comes_and_goes_leaves_nothing(impatient):
    def visit(index):
        with Connection(impatient.http_port) as connection:
            if index % 3:
                connection.send(request(GRID, GOOD))
            if index % 3 == 1:
                assert is_right(connection.answer())

    with ThreadPoolExecutor(8) as clients:
        list(clients.map(visit, range(600)))
    eventually(lambda: metric(impatient, "headrace_http_connections{") == 1)
