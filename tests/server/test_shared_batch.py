"""Requests that differ in id, outputs, parameters and protocol share a batch, and each gets just what it asked for."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx_models
import pytest
import tritonclient.grpc
import tritonclient.http
from live import serving
from raw_http import Connection, ask, eventually, request

INFER = "/v2/models/busy/infer"
LONG = 600
"""Loops of the batch behind which the others meet."""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("busy")
    onnx_models.save(onnx_models.busy(), folder, "busy")
    (folder / "busy" / "double.txt").write_text("one\ntwo\nthree\n")
    (folder / "busy" / "config.yaml").write_text("labels: {double: double.txt}\n")
    with serving(folder) as running:
        ask(running.http_port, request(INFER, document([1.0], LONG)))
        yield running


def tensors(x, loops=0):
    return [
        {"name": "x", "datatype": "FP32", "shape": [len(x), 1], "data": x},
        {"name": "loops", "datatype": "INT64", "shape": [len(x), 1], "data": [loops] * len(x)},
    ]


def document(x, loops=0, **rest):
    return {"inputs": tensors(x, loops), **rest}


def given(client, x):
    made = []
    for name, datatype, values in (("x", "FP32", np.float32(x)), ("loops", "INT64", np.zeros(len(x), np.int64))):
        made.append(client.InferInput(name, [len(x), 1], datatype))
        made[-1].set_data_from_numpy(values.reshape(-1, 1))
    return made


def in_flight(server):
    lines = server.get("/metrics").decode().splitlines()
    return sum(int(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("headrace_requests_in_flight{"))


def batches(server):
    """Rows of a batch -> how many such batches there were."""
    (stats,) = json.loads(server.get("/v2/models/busy/stats"))["model_stats"]
    return {line["batch_size"]: line["compute_infer"]["count"] for line in stats["batch_stats"]}


def over_json(number, server):
    """Each request has numbers of its own; a third asks for one output, a third for both in the other order."""
    x = [number + 0.25, number + 0.5][: 1 + number % 2]
    wishes = {0: None, 1: ["half"], 2: ["half", "double"]}[number % 3]
    rest = {"id": f"json {number}"} if number % 4 else {}
    if wishes:
        rest["outputs"] = [{"name": name} for name in wishes]
    if number % 5 == 0:
        rest["parameters"] = {"timeout": 60_000_000, "mine": "anything", "priority": number}
    answer = ask(server.http_port, request(INFER, document(x, **rest)))
    assert answer.status == 200, answer.body
    expected = {"double": [2 * each for each in x], "half": [each / 2 for each in x]}
    found = {output["name"]: output["data"] for output in answer.document["outputs"]}
    assert list(found) == (wishes or ["double", "half"])
    assert found == {name: expected[name] for name in found}
    assert answer.document.get("id", "") == rest.get("id", "")


def over_binary_http(number, server):
    x = [number + 0.75]
    wish = tritonclient.http.InferRequestedOutput("half", binary_data=number % 2 == 0)
    with tritonclient.http.InferenceServerClient(server.url) as client:
        result = client.infer("busy", given(tritonclient.http, x), outputs=[wish], request_id=f"http {number}")
    assert result.as_numpy("half").tolist() == [[x[0] / 2]]
    assert result.as_numpy("double") is None
    assert result.get_response()["id"] == f"http {number}"
    assert ("data" in result.get_output("half")) == (number % 2 == 1)


def over_grpc(number, server):
    x = [number + 0.125, number + 0.375, number + 0.625]
    wishes = [tritonclient.grpc.InferRequestedOutput("double")] if number % 2 else None
    with tritonclient.grpc.InferenceServerClient(server.grpc_url) as client:
        result = client.infer(
            "busy",
            given(tritonclient.grpc, x),
            outputs=wishes,
            request_id=f"grpc {number}",
            parameters={"mine": number},
        )
    assert result.as_numpy("double").tolist() == [[2 * each] for each in x]
    half = result.as_numpy("half")
    assert half is None if wishes else half.tolist() == [[each / 2] for each in x]
    assert result.get_response().id == f"grpc {number}"


def as_classes(number, server):
    """Triton's classification extension, in the same batch: the class of one output instead of its number."""
    wish = {"name": "double", "parameters": {"classification": 1}}
    answer = ask(server.http_port, request(INFER, document([float(number)], id="class", outputs=[wish])))
    (output,) = answer.document["outputs"]
    assert output["datatype"] == "BYTES"
    assert output["data"] == [f"{2.0 * number:f}:0:one"]


def test_requests_that_differ_in_all_but_their_inputs_share_a_batch(server):
    kinds = (over_json, over_binary_http, over_grpc, as_classes)
    rows = sum((1 + number % 2) + 1 + 3 + 1 for number in range(8))
    before = batches(server)
    with Connection(server.http_port) as blocker, ThreadPoolExecutor(32) as clients:
        blocker.send(request(INFER, document([1.0], LONG)))
        eventually(lambda: in_flight(server) == 1)
        asked = [clients.submit(kind, number, server) for number in range(8) for kind in kinds]
        eventually(lambda: in_flight(server) == 1 + len(asked))
        assert not blocker.received(), "it ran for too short a time for this test"
        for each in asked:
            each.result()
        assert blocker.answer().status == 200
    after = batches(server)
    assert {size: count - before.get(size, 0) for size, count in after.items() if count != before.get(size)} == {
        1: 1,
        rows: 1,
    }
