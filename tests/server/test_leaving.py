"""Clients that leave while their request waits behind a batch that runs: their place is free at once, and no batch runs
for them. Public clients and raw sockets against a real server.
"""

import asyncio
import contextlib
import socket
import struct

import numpy as np
import onnx_models
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
import tritonclient.http.aio
from live import serving
from raw_http import Connection, ask, chunked, eventually, request
from tritonclient.utils import InferenceServerException

INFER = "/v2/models/busy/infer"
LONG, LEAVERS = 400, 5
"""Loops of the batch that the others wait behind: half a second, or more where all is slower."""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("busy")
    onnx_models.save(onnx_models.busy(), folder, "busy")
    with serving(folder) as running:
        ask(running.http_port, request(INFER, document([1.0], LONG)))  # now it knows that this belongs in a thread
        yield running


def document(x, loops=0):
    rows = [len(x), 1]
    return {
        "inputs": [
            {"name": "x", "datatype": "FP32", "shape": rows, "data": x},
            {"name": "loops", "datatype": "INT64", "shape": rows, "data": [loops] * len(x)},
        ]
    }


def inputs(client, x):
    """The same with a tritonclient module."""
    tensors = []
    for name, datatype, values in (("x", "FP32", np.float32(x)), ("loops", "INT64", np.zeros(len(x), np.int64))):
        tensors.append(client.InferInput(name, [len(x), 1], datatype))
        tensors[-1].set_data_from_numpy(values.reshape(-1, 1))
    return tensors


def counts(server):
    """(rows that wait, requests in flight, batches run, rows run) of the model."""
    names = ("headrace_queue_rows", "headrace_requests_in_flight", "headrace_batches_total", "headrace_rows_total")
    lines = server.get("/metrics").decode().splitlines()
    return tuple(int(line.rsplit(" ", 1)[1]) for name in names for line in lines if line.startswith(name + "{"))


@contextlib.contextmanager
def running_batch(server):
    """A batch of one row runs during the block, or it took too long; its answer is right. Nothing else has run."""
    before = counts(server)
    with Connection(server.http_port) as connection:
        connection.send(request(INFER, document([7.0], LONG)))
        eventually(lambda: counts(server)[:2] == (0, 1))
        yield before
        assert not connection.received(), "it ran for too short a time for this test"
        assert connection.answer().document["outputs"][0]["data"] == [14.0]


def reset(connection):
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.socket.close()


def close(connection):
    connection.socket.close()


def half_close(connection):
    connection.socket.shutdown(socket.SHUT_WR)


def left_nothing(server, before):
    """After the batch that ran: it was the only one, and the next request finds an idle model."""
    eventually(lambda: counts(server) == (0, 0, before[2] + 1, before[3] + 1))
    answer = ask(server.http_port, request(INFER, document([1.0])))
    assert answer.document["outputs"][0]["data"] == [2.0]
    assert counts(server) == (0, 0, before[2] + 2, before[3] + 2)


@pytest.mark.parametrize("leave", [close, reset, half_close])
@pytest.mark.parametrize("way", [request, chunked])
def test_http_connections_that_close_leave_the_queue_and_no_batch_runs_for_them(server, way, leave):
    with contextlib.ExitStack() as stack:
        with running_batch(server) as before:
            connections = [stack.enter_context(Connection(server.http_port)) for _ in range(LEAVERS)]
            for connection in connections:
                connection.send(way(INFER, document([1.0, 2.0])))
            eventually(lambda: counts(server)[:2] == (2 * LEAVERS, 1 + LEAVERS))
            for connection in connections:
                leave(connection)
            eventually(lambda: counts(server)[:2] == (0, 1))
        left_nothing(server, before)


def test_who_stays_is_answered_in_a_batch_without_those_who_left(server):
    with contextlib.ExitStack() as stack:
        with running_batch(server) as before:
            connections = [stack.enter_context(Connection(server.http_port)) for _ in range(LEAVERS)]
            for connection in connections:
                connection.send(request(INFER, document([1.0, 2.0])))
            eventually(lambda: counts(server)[:2] == (2 * LEAVERS, 1 + LEAVERS))
            *leavers, stayer = connections
            for connection in leavers:
                close(connection)
            eventually(lambda: counts(server)[:2] == (2, 2))
        assert stayer.answer().document["outputs"][0]["data"] == [2.0, 4.0]
        assert counts(server) == (0, 0, before[2] + 2, before[3] + 3)


def test_http_client_of_triton_that_is_cancelled(server):
    async def scenario():
        async with tritonclient.http.aio.InferenceServerClient(server.url, conn_limit=LEAVERS) as client:
            given = inputs(tritonclient.http, [1.0, 2.0])
            calls = [asyncio.create_task(client.infer("busy", given)) for _ in range(LEAVERS)]
            await asyncio.to_thread(eventually, lambda: counts(server)[:2] == (2 * LEAVERS, 1 + LEAVERS))
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)

    with running_batch(server) as before:
        asyncio.run(scenario())
        eventually(lambda: counts(server)[:2] == (0, 1))
    left_nothing(server, before)


def test_http_client_of_triton_whose_timeout_passes(server):
    with running_batch(server) as before:
        client = tritonclient.http.InferenceServerClient(server.url, network_timeout=0.1)
        with client, pytest.raises(TimeoutError):
            client.infer("busy", inputs(tritonclient.http, [1.0, 2.0]))
        eventually(lambda: counts(server)[:2] == (0, 1))
    left_nothing(server, before)


def test_grpc_calls_that_are_cancelled(server):
    with tritonclient.grpc.InferenceServerClient(server.grpc_url) as client, running_batch(server) as before:
        given = inputs(tritonclient.grpc, [1.0, 2.0])
        calls = [client.async_infer("busy", given, lambda result, error: None) for _ in range(LEAVERS)]
        eventually(lambda: counts(server)[:2] == (2 * LEAVERS, 1 + LEAVERS))
        for call in calls:
            call.cancel()
        eventually(lambda: counts(server)[:2] == (0, 1))
    left_nothing(server, before)


def test_grpc_calls_whose_deadline_passes(server):
    with tritonclient.grpc.InferenceServerClient(server.grpc_url) as client, running_batch(server) as before:
        with pytest.raises(InferenceServerException, match=r"Deadline Exceeded|timeout of"):
            client.infer("busy", inputs(tritonclient.grpc, [1.0, 2.0]), client_timeout=0.1)
        eventually(lambda: counts(server)[:2] == (0, 1))
    left_nothing(server, before)


def test_grpc_channel_that_closes(server):
    async def scenario():
        client = tritonclient.grpc.aio.InferenceServerClient(server.grpc_url)
        given = inputs(tritonclient.grpc, [1.0, 2.0])
        calls = [asyncio.create_task(client.infer("busy", given)) for _ in range(LEAVERS)]
        await asyncio.to_thread(eventually, lambda: counts(server)[:2] == (2 * LEAVERS, 1 + LEAVERS))
        await client.close()
        await asyncio.gather(*calls, return_exceptions=True)

    with running_batch(server) as before:
        asyncio.run(scenario())
        eventually(lambda: counts(server)[:2] == (0, 1))
    left_nothing(server, before)


def test_grpc_stream_that_is_cancelled(server):
    with tritonclient.grpc.InferenceServerClient(server.grpc_url) as client, running_batch(server) as before:
        client.start_stream(lambda result, error: None)
        for _ in range(LEAVERS):
            client.async_stream_infer("busy", inputs(tritonclient.grpc, [1.0, 2.0]))
        eventually(lambda: counts(server)[:2] == (2 * LEAVERS, 1 + LEAVERS))
        client.stop_stream(cancel_requests=True)
        eventually(lambda: counts(server)[:2] == (0, 1))
    left_nothing(server, before)
