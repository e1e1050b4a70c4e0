"""More than can be done in time, on a live server: who is refused, in both protocols, and what he is told."""

import gzip
import json
import queue
import re
import time

import grpc
import numpy as np
import onnx_models
import pytest
import tritonclient.grpc
import tritonclient.http
from live import serving
from raw_http import Connection, ask, chunked, request
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc
from tritonclient.utils import InferenceServerException

from batcher.outlook import TRY_EVERY_S

INFER = "/v2/models/slow/infer"
IMPOSSIBLE_MS = "0.01"
WIDTH = 512


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("overload")
    onnx_models.save(onnx_models.slow(), folder, "slow")
    onnx_models.save(onnx_models.slow(), folder, "brief")
    (folder / "brief" / "config.yaml").write_text("batching: {default_timeout_ms: 0.01, max_queue_bytes: 4096}\n")
    onnx_models.save(onnx_models.slow(), folder, "timer")
    (folder / "timer" / "config.yaml").write_text("batching: {controller: timer}\n")
    return folder


@pytest.fixture(scope="module")
def server(repository):
    with serving(repository) as running:
        yield running


def document(rows=1, **parameters):
    tensor = {"name": "h0", "datatype": "FP32", "shape": [rows, WIDTH], "data": [0.5] * (rows * WIDTH)}
    return {"inputs": [tensor], "parameters": parameters}


def body(**parameters):
    return json.dumps(document(**parameters)).encode()


def refused(answers):
    """The first refusal for want of time. One request a second may be tried all the same, and expires."""
    for answer in answers:
        if answer.status != 504:
            return answer
    raise AssertionError("all of them were tried")


def test_who_cannot_be_in_time_is_refused_at_once_by_any_way_in(server):
    plain = body(timeout=int(float(IMPOSSIBLE_MS) * 1e3))
    ways = {
        "header": request(INFER, body(), headrace_timeout_ms=IMPOSSIBLE_MS),
        "header, known": request(INFER, body(), headrace_timeout_ms=IMPOSSIBLE_MS),
        "the soonest": request(INFER, body(timeout=10**9), headrace_timeout_ms=IMPOSSIBLE_MS),
        "parameter": request(INFER, plain),
        "header, chunked": chunked(INFER, body(), headrace_timeout_ms=IMPOSSIBLE_MS),
        "parameter, chunked": chunked(INFER, plain, headrace_timeout_ms="100000"),
        "by the model": request(INFER.replace("slow", "brief"), body()),
        "by the model, chunked": chunked(INFER.replace("slow", "brief"), body()),
    }
    for way, data in ways.items():
        with Connection(server.http_port) as connection:

            def answers(connection=connection, data=data):
                for _ in range(3):
                    connection.send(data)
                    yield connection.answer()

            answer = refused(answers())
        assert answer.status == 503, way
        assert re.fullmatch(
            r"model '(slow|brief)' is overloaded: the request would be answered in [\d.]+ ms, its timeout is 0.01 ms",
            answer.error,
        ), way
        assert answer.headers["retry-after"] == "1", way
        assert int(answer.headers["headrace-retry-after-ms"]) >= 1, way


NO_REQUESTS = {
    "no inputs": document() | {"inputs": "none"},
    "no JSON": b'{"inputs": [',
    "parameters of no meaning here": document() | {"id": "7", "inputs": [], "parameters": {"mine": 1}},
}


@pytest.fixture(scope="module")
def in_overload(server):
    """`in_overload(model)`: one request for the impossible was tried, so that none is for a while, and one refused."""
    tried = {}

    def wait(model="brief"):
        data = request(INFER.replace("slow", model), body(), headrace_timeout_ms=IMPOSSIBLE_MS)
        seen = []
        while seen[-1:] != [503] or time.monotonic() > tried.get(model, 0) + TRY_EVERY_S / 2:
            seen.append(ask(server.http_port, data).status)
            if seen[-1] == 504:
                tried[model] = time.monotonic()

    return wait


@pytest.mark.parametrize("way", [request, chunked])
@pytest.mark.parametrize("model", ["slow", "brief"])
def test_in_overload_a_body_that_can_change_nothing_is_not_read_not_even_to_find_that_it_is_none(
    server, in_overload, way, model
):
    more = {"headrace_timeout_ms": IMPOSSIBLE_MS} if model == "slow" else {}
    in_overload(model)
    with Connection(server.http_port) as connection:
        for what, data in NO_REQUESTS.items():
            connection.send(way(INFER.replace("slow", model), data, **more))
            answer = connection.answer()
            assert answer.status == 503, what
            assert answer.error.endswith("its timeout is 0.01 ms")
            assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize("way", [request, chunked])
@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (body(timeout=60_000_000), 200),
        (body(timeout=60_000_000).replace(b'"timeout"', rb'"\u0074imeout"'), 200),
        (gzip.compress(body(timeout=60_000_000)), 200),
        (b'{"parameters": {"priority": 1}, "inputs": "none"}', 400),
        (rb'{"parameters": {"pri\u006frity": 1}, "inputs": "none"}', 400),
        (b'{"inputs": [{"name": "timeout"}]}', 400),
    ],
    ids=["timeout", "timeout, escaped", "timeout, compressed", "priority", "priority, escaped", "a tensor's name"],
)
def test_in_overload_a_body_that_may_say_more_of_its_time_is_read(server, in_overload, way, sent, status):
    url = INFER.replace("slow", "brief")
    coding = {"content_encoding": "gzip"} if sent.startswith(b"\x1f") else {}
    in_overload()
    assert ask(server.http_port, way(url, sent, **coding)).status == status


def binary(tail):
    """(The whole request, the JSON part of its body.)"""
    size = {"binary_data_size": len(tail)}
    head = json.dumps(
        {"inputs": [{"name": "h0", "datatype": "FP32", "shape": [1, WIDTH], "parameters": size}]}
    ).encode()
    return request(INFER.replace("slow", "brief"), head + tail, inference_header_content_length=len(head)), head


def test_in_overload_binary_tensors_are_not_searched_for_words(server, in_overload):
    data, _ = binary(b"priority timeout")
    in_overload()
    assert ask(server.http_port, data).status == 503


def test_in_overload_a_large_body_is_refused_before_it_is_there_and_the_connection_goes_on(server, in_overload):
    data, head = binary(bytes(1 << 20))
    begun = data.find(head) + len(head) + 10
    in_overload()
    with Connection(server.http_port) as connection:
        connection.send(data[:begun])
        assert connection.answer().status == 503
        connection.send(data[begun:])
        connection.send(request(INFER.replace("slow", "brief"), body(timeout=60_000_000)))
        assert connection.answer().status == 200


def test_who_has_time_is_answered(server):
    for data in (
        request(INFER, body(), headrace_timeout_ms="60000"),
        chunked(INFER, body(timeout=60_000_000)),
        request(INFER.replace("slow", "brief"), body(timeout=60_000_000)),
    ):
        assert ask(server.http_port, data).status == 200


@pytest.mark.parametrize("way", [request, chunked])
def test_a_timeout_that_is_none_is_a_bad_request(server, way):
    answer = ask(server.http_port, way(INFER, body(), headrace_timeout_ms="soon"))
    assert (answer.status, answer.error) == (
        400,
        "headrace-timeout-ms is a number of milliseconds above 0, found 'soon'",
    )


def test_a_controller_that_learns_nothing_only_lets_requests_expire(server):
    for _ in range(3):
        data = request(INFER.replace("slow", "timer"), body(), headrace_timeout_ms=IMPOSSIBLE_MS)
        assert ask(server.http_port, data).status == 504


def test_bytes_that_can_never_wait_are_the_clients_mistake(server):
    data = request(INFER.replace("slow", "brief"), document(rows=3, timeout=60_000_000))
    answer = ask(server.http_port, data)
    assert (answer.status, answer.error) == (
        400,
        f"model 'brief' queues at most 4096 bytes, the request has {3 * 4 * WIDTH}",
    )


def test_grpc_says_the_same_in_its_own_words(server):
    message = pb.ModelInferRequest(model_name="slow", raw_input_contents=[np.ones((1, WIDTH), np.float32).tobytes()])
    message.inputs.add(name="h0", datatype="FP32", shape=[1, WIDTH])
    with grpc.insecure_channel(server.grpc_url) as channel:
        infer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer

        def codes(**options):
            for _ in range(3):
                with pytest.raises(grpc.RpcError) as refusal:
                    infer(message, **options)
                if refusal.value.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                    break
            return refusal.value

        late = codes(metadata=(("headrace-timeout-ms", IMPOSSIBLE_MS),))
        assert late.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "its timeout is 0.01 ms" in late.details()
        told = dict(late.trailing_metadata())
        assert told["retry-after"] == "1"
        assert int(told["headrace-retry-after-ms"]) >= 1

        wrong = codes(metadata=(("headrace-timeout-ms", "soon"),))
        assert wrong.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert wrong.details() == "headrace-timeout-ms is a number of milliseconds above 0, found 'soon'"

        message.parameters["timeout"].int64_param = 10
        late = codes(timeout=60)
        assert late.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, "the parameter is sooner than the deadline"
        message.parameters["timeout"].int64_param = 60_000_000
        assert infer(message, timeout=60, metadata=(("headrace-timeout-ms", "60000"),)).outputs


ROW = np.full((1, WIDTH), 0.5, np.float32)


@pytest.fixture(params=["http", "grpc"])
def client(request, server):
    """Triton's, and the input that it sends."""
    kind = tritonclient.http if request.param == "http" else tritonclient.grpc
    one = kind.InferInput("h0", [1, WIDTH], "FP32")
    one.set_data_from_numpy(ROW)
    with kind.InferenceServerClient(server.url if request.param == "http" else server.grpc_url) as made:
        yield made, [one]


def test_a_public_client_in_overload_hears_the_refusal_and_is_served_if_it_gives_more_time(client):
    triton, row = client
    heard = []
    for _ in range(4):
        with pytest.raises(InferenceServerException) as refusal:
            triton.infer("brief", row)
        heard.append(str(refusal.value))
    assert sum("its timeout is 0.01 ms" in each for each in heard) >= 3, "one may be tried"
    assert triton.infer("brief", row, timeout=60_000_000).as_numpy("h40").shape == (1, WIDTH)


def test_a_public_client_on_a_stream_hears_when_to_try_again(server):
    row = tritonclient.grpc.InferInput("h0", [1, WIDTH], "FP32")
    row.set_data_from_numpy(ROW)
    answers = queue.Queue()
    with tritonclient.grpc.InferenceServerClient(server.grpc_url) as triton:
        triton.start_stream(lambda result, error: answers.put((result, error)))
        for _ in range(4):
            triton.async_stream_infer("brief", [row])
        heard = [str(answers.get(timeout=20)[1]) for _ in range(4)]
        triton.async_stream_infer("brief", [row], timeout=60_000_000)
        assert answers.get(timeout=20)[0].as_numpy("h40").shape == (1, WIDTH)
    told = [re.search(r"its timeout is 0.01 ms \(headrace-retry-after-ms: (\d+)\)$", each) for each in heard]
    assert sum(int(each[1]) >= 1 for each in told if each) >= 3


def test_who_left_is_counted_by_why(server):
    text = server.get("/metrics").decode()
    assert int(re.search(r'headrace_requests_left_total\{model="slow",reason="shed",version="1"\} (\d+)', text)[1]) >= 6
    assert re.search(r'headrace_requests_left_total\{model="timer",reason="expired",version="1"\} 3\n', text)
    assert re.search(r'headrace_request_failures_total\{model="slow",reason="would_be_late",version="1"\} \d+', text)
    told = json.loads(server.get("/v2/models/slow/batcher"))
    assert told["left"]["shed"] >= 6
    assert told["now"]["queue_bytes"] == 0
    assert told["deadlines"]["expected_ms"] > float(IMPOSSIBLE_MS)
    assert told["deadlines"]["why"].startswith("a row that arrives now is let in if its timeout is ")
    assert "deadlines" not in json.loads(server.get("/v2/models/timer/batcher"))


def test_the_status_of_a_refusal_can_be_429(repository):
    with serving(repository, "--refuse-status", "429") as running:
        for way in (request, chunked):
            with Connection(running.http_port) as connection:

                def answers(connection=connection, way=way):
                    for _ in range(3):
                        connection.send(way(INFER, body(), headrace_timeout_ms=IMPOSSIBLE_MS))
                        yield connection.answer()

                answer = refused(answers())
            assert answer.status == 429
            assert answer.headers["retry-after"] == "1"
