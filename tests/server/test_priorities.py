"""V2's `priority` from public clients to the batch: the most urgent are answered first, over every way in."""

import contextlib
import json
import threading

import numpy as np
import onnx_models
import pytest
import tritonclient.grpc
import tritonclient.http
from live import serving
from raw_http import Connection, ask, chunked, eventually, request
from tritonclient.utils import InferenceServerException

INFER = "/v2/models/busy/infer"
LONG, SHORT = 400, 20
CONFIG = "batching: {max_batch_rows: 1, priority_levels: 3, ageing_ms: 60000}"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("busy")
    onnx_models.save(onnx_models.busy(), folder, "busy")
    (folder / "busy" / "config.yaml").write_text(CONFIG)
    with serving(folder) as running:
        ask(running.http_port, request(INFER, document(1.0, LONG)))  # now it knows that this belongs in a thread
        yield running


def document(x, loops, priority=None):
    tensors = [
        {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [x]},
        {"name": "loops", "datatype": "INT64", "shape": [1, 1], "data": [loops]},
    ]
    return {"inputs": tensors} | ({} if priority is None else {"parameters": {"priority": priority}})


def inputs(client, x, loops):
    tensors = []
    for name, datatype, value in (("x", "FP32", np.float32([[x]])), ("loops", "INT64", np.int64([[loops]]))):
        tensors.append(client.InferInput(name, [1, 1], datatype))
        tensors[-1].set_data_from_numpy(value)
    return tensors


def waiting(server):
    lines = server.get("/metrics").decode().splitlines()
    return next(int(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("headrace_queue_rows{"))


def by_hand(way):
    def call(server, x, priority):
        answer = ask(server.http_port, way(INFER, document(x, SHORT, priority)))
        return answer.document["outputs"][0]["data"]

    return call


def by_triton_http(server, x, priority):
    with tritonclient.http.InferenceServerClient(server.url) as client:
        return client.infer("busy", inputs(tritonclient.http, x, SHORT), priority=priority).as_numpy("double").ravel()


def by_triton_grpc(server, x, priority):
    with tritonclient.grpc.InferenceServerClient(server.grpc_url) as client:
        return client.infer("busy", inputs(tritonclient.grpc, x, SHORT), priority=priority).as_numpy("double").ravel()


WAYS = {
    "short cut": by_hand(request),
    "FastAPI": by_hand(chunked),
    "tritonclient.http": by_triton_http,
    "tritonclient.grpc": by_triton_grpc,
}


@pytest.mark.parametrize("way", WAYS)
def test_who_is_more_urgent_is_answered_first(server, way):
    call, order = WAYS[way], []

    def client(x, priority):
        assert list(call(server, x, priority)) == [2 * x]
        order.append(x)

    with contextlib.ExitStack() as stack:
        busy = stack.enter_context(Connection(server.http_port))
        busy.send(request(INFER, document(7.0, LONG)))
        eventually(lambda: b'headrace_requests_in_flight{model="busy",version="1"} 1' in server.get("/metrics"))
        clients = []
        for count, (x, priority) in enumerate(((1.0, 3), (2.0, 0), (3.0, 1)), 1):
            clients.append(threading.Thread(target=client, args=(x, priority)))
            clients[-1].start()
            eventually(lambda count=count: waiting(server) == count)
        assert not busy.received(), "it ran for too short a time for this test"
        assert busy.answer().status == 200
        for each in clients:
            each.join(20)
    assert order == [3.0, 2.0, 1.0]


def test_a_level_that_is_not_there_is_refused_over_both_protocols(server):
    said = "parameter priority of the request is 4, model 'busy' has the levels 1 to 3 (priority_levels), and 0 for "
    said += "level 2"
    for way in (request, chunked):
        answer = ask(server.http_port, way(INFER, document(1.0, 0, 4)))
        assert (answer.status, answer.error) == (400, said)
    with pytest.raises(InferenceServerException) as caught:
        by_triton_grpc(server, 1.0, 4)
    assert (caught.value.status(), caught.value.message()) == ("StatusCode.INVALID_ARGUMENT", said)


def test_the_configuration_says_the_levels(server):
    dynamic = json.loads(server.get("/v2/models/busy/config"))["dynamic_batching"]
    assert (int(dynamic["priority_levels"]), int(dynamic["default_priority_level"])) == (3, 2)
