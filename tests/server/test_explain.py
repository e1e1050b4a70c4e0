"""A request that asks where its time went is told, over REST and gRPC, and the parts add up."""

import re

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton
from asking import add
from live import serving
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

PARTS = ("decode", "queue", "assemble", "run", "split", "turn", "encode")
BODY = {
    "inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 10]}],
    "parameters": {"explain": True},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explain") / "models"
    add(folder, 1)
    with serving(folder) as server:
        yield server


def durations(header):
    return {name: float(ms) for name, ms in re.findall(r"(\w+)(?:;desc=\"[^\"]*\")?;dur=([\d.]+)", header)}


def test_the_parts_add_up_in_the_answer_and_in_the_header(server):
    with httpx.Client(base_url=f"http://{server.url}") as client:
        for _ in range(5):
            answer = client.post("/v2/models/m/infer", json=BODY)
            said = answer.json()["parameters"]
            assert sum(said[f"headrace_{part}_us"] for part in PARTS) == pytest.approx(said["headrace_total_us"], abs=1)
            assert (said["headrace_batch_rows"], said["headrace_batch_requests"]) == (1, 1)
            assert said["headrace_reason"] in said["headrace_why"]
            told = durations(answer.headers["server-timing"])
            assert told.keys() == {*PARTS, "total"}
            assert sum(told[part] for part in PARTS) == pytest.approx(told["total"], abs=0.002)
            assert told["total"] >= said["headrace_total_us"] / 1e3 - 0.001
            assert told["total"] < answer.elapsed.total_seconds() * 1e3


def test_a_request_that_does_not_ask_is_told_nothing(server):
    answer = httpx.post(f"http://{server.url}/v2/models/m/infer", json={**BODY, "parameters": {}})
    assert "parameters" not in answer.json()
    assert "server-timing" not in answer.headers


def test_explain_is_true_or_false(server):
    answer = httpx.post(f"http://{server.url}/v2/models/m/infer", json={**BODY, "parameters": {"explain": 1}})
    assert (answer.status_code, "explain is true or false, found 1" in answer.text) == (400, True)


def test_tritonclient_reads_the_parts_from_the_parameters(server):
    x = triton.InferInput("x", [1, 2], "FP32").set_data_from_numpy(np.ones((1, 2), np.float32))
    with triton.InferenceServerClient(server.url) as client:
        said = client.infer("m", [x], parameters={"explain": True}).get_response()["parameters"]
    assert said["headrace_run_us"] > 0


def test_the_batcher_says_what_it_has_learnt_and_why(server):
    with httpx.Client(base_url=f"http://{server.url}") as client:
        for _ in range(40):
            client.post("/v2/models/m/infer", json=BODY)
        said = client.get("/v2/models/m/batcher", params={"recording": True}).json()
        assert (said["model"], said["version"], said["replica"], said["replicas"]) == ("m", "1", 0, 1)
        assert said["controller"] == "adaptive"
        assert said["curve"]["sizes"][0]["rows"] == 1
        assert said["why"][0] == "nothing waits; 0 batches in flight"
        assert sum(said["batches_closed"].values()) >= 40
        assert {"the plan in force", "everything at once"} <= {each["settings"] for each in said["forecasts"]}
        assert len(said["recording"]["thinks_ms"]) >= 20
        assert client.get("/v2/models/nobody/batcher").status_code == 404


def test_grpc_has_the_parts_in_the_parameters_and_in_trailing_metadata(server):
    x = triton_grpc.InferInput("x", [1, 2], "FP32").set_data_from_numpy(np.ones((1, 2), np.float32))
    with triton_grpc.InferenceServerClient(server.grpc_url) as client:
        request = client.infer("m", [x], parameters={"explain": True})
        said = request.get_response().parameters
    assert said["headrace_run_us"].double_param > 0
    assert sum(said[f"headrace_{part}_us"].double_param for part in PARTS) == pytest.approx(
        said["headrace_total_us"].double_param, abs=1
    )
    with grpc.insecure_channel(server.grpc_url) as channel:
        message = pb.ModelInferRequest(model_name="m", raw_input_contents=[np.ones(2, np.float32).tobytes()])
        message.inputs.add(name="x", datatype="FP32", shape=[1, 2])
        message.parameters["explain"].bool_param = True
        _, call = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer.with_call(message)
    told = durations(dict(call.trailing_metadata())["server-timing"])
    assert sum(told[part] for part in PARTS) == pytest.approx(told["total"], abs=0.002)
