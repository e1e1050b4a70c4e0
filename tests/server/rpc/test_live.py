"""The public gRPC clients against a real server."""

import asyncio
import socket

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tritonclient.utils import InferenceServerException

from headrace.datatypes import Datatype

EXAMPLES = {"BOOL": [True, False], "BYTES": ["é", ""], "FP32": [1.5, np.nan]}


@pytest.fixture
def client(server):
    with triton.InferenceServerClient(server.grpc_url) as client:
        yield client


def given(values, datatype, name="x"):
    tensor = triton.InferInput(name, list(values.shape), datatype)
    tensor.set_data_from_numpy(values)
    return tensor


@pytest.mark.parametrize("datatype", list(Datatype), ids=lambda datatype: datatype.wire)
def test_every_datatype_comes_back_as_it_went(client, datatype):
    values = np.array(EXAMPLES.get(datatype.wire, [0, 7]), datatype.numpy)

    back = client.infer(f"same_{datatype.wire}", [given(values, datatype.wire)], request_id="me").as_numpy("y")

    if datatype is Datatype.BYTES:
        assert [each.decode() for each in back] == values.tolist()
    else:
        assert np.array_equal(back.astype(np.float64), values.astype(np.float64), equal_nan=True)


def test_every_document_is_read(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("digits", "1")
    assert client.get_server_metadata().name == "headrace"
    assert client.get_model_metadata("digits").inputs[0].name == "pixels"
    assert client.get_model_config("digits").config.max_batch_size == 64
    assert client.get_inference_statistics("digits").model_stats[0].name == "digits"
    assert {row.name: row.state for row in client.get_model_repository_index().models}["broken"] == "UNAVAILABLE"


def test_both_protocols_answer_the_same(server, client):
    import tritonclient.http as http_client

    x = np.random.default_rng(0).random((3, 64), np.float32)
    tensor = http_client.InferInput("x", [3, 64], "FP32")
    tensor.set_data_from_numpy(x)
    with http_client.InferenceServerClient(server.url) as http:
        over_http = http.infer("mlp", [tensor]).as_numpy("y")
    assert np.array_equal(client.infer("mlp", [given(x, "FP32")]).as_numpy("y"), over_http)


def test_what_is_wrong_has_a_code_and_a_sentence(client):
    cases = [
        ("none", np.zeros((1, 64), np.float32), "NOT_FOUND"),
        ("broken", np.zeros((1, 64), np.float32), "UNAVAILABLE"),
        ("mlp", np.zeros((1, 63), np.float32), "INVALID_ARGUMENT"),
    ]
    for model, x, code in cases:
        with pytest.raises(InferenceServerException) as caught:
            client.infer(model, [given(x, "FP32")])
        assert code in caught.value.status()
    with pytest.raises(InferenceServerException, match="explicit mode"):
        client.load_model("digits")


def test_a_stream_is_answered_in_order_and_survives_an_error(server):
    async def scenario():
        async def requests():
            for number in range(20):
                x = np.full((1, 64 if number != 7 else 63), number, np.float32)
                yield {"model_name": "mlp", "inputs": [given(x, "FP32")], "request_id": str(number)}

        async with triton_aio.InferenceServerClient(server.grpc_url) as client:
            seen = [
                (result.get_response().id if error is None else None, error)
                async for result, error in client.stream_infer(requests())
            ]
        assert [id for id, _ in seen if id] == [str(number) for number in range(20) if number != 7]
        assert "63" in str(seen[7][1])

    asyncio.run(scenario())


def test_the_standard_health_service_answers(server):
    with grpc.insecure_channel(server.grpc_url) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_garbage_on_the_port_harms_nobody(server, client):
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", bytes(1000), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100):
        with socket.create_connection(("127.0.0.1", server.grpc_port), timeout=5) as sock:
            sock.sendall(garbage)
    assert client.is_server_ready()
