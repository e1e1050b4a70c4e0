"""Servers of others, and other ways to ask ours: the answers are read and are right."""

import importlib.util
import json
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
import uvloop
from asking import add
from live import serving
from loadtest_command import QUICK, all_right, loadtest, run
from serving_fake import TOKEN, serving_fake
from tritonclient.grpc import service_pb2 as pb

from loadtest.attack import Attack, Course
from loadtest.rpc import RpcTarget, Slots
from loadtest.shot import Shot
from loadtest.where import parse


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    folder = tmp_path_factory.mktemp("protocols") / "models"
    add(folder, 2)
    with serving(folder) as server:
        yield server


@pytest.fixture(scope="module")
def tf_serving():
    with serving_fake() as url:
        yield url


# -- TensorFlow Serving -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["sum", "twice/3", "turned"])
def test_tensorflow_serving_is_asked_in_rows_or_columns(tf_serving, tmp_path, model):
    found, _ = run(tmp_path, tf_serving, "--protocol", "v1", "-m", model, "--rows", "3", "--check", "first")
    assert all_right(found)


def test_answers_of_tensorflow_serving_are_compared_with_what_is_given(tf_serving, tmp_path):
    data = tmp_path / "data.npz"
    np.savez(data, a=[[1, 2], [3, 4]], b=[[1, 1], [1, 1]], y=[[2, 3], [4, 6]])
    ask = (tf_serving, "--protocol", "v1", "-m", "sum", "--input", data, "--check", data)
    found, _ = run(tmp_path, *ask)
    assert found["requests"]["wrong"] == pytest.approx(found["requests"]["sent"] / 2, abs=1)
    assert found["requests"]["wrong"] > 0
    assert list(found["what"]) == ["output 'y' has other values than expected"]
    assert all_right(run(tmp_path, *ask, "--atol", "1")[0])


def test_a_server_that_lists_no_models_wants_a_name(tf_serving):
    code, _, said = loadtest(tf_serving, "--protocol", "v1")
    assert code == 2
    assert said.endswith("does not list its models; --model names what to ask\n")


# -- any URL ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def body(tmp_path):
    file = tmp_path / "body.json"
    file.write_text(json.dumps({"rows": [[1, 2.5], [3, 4]], "who": "me", "odd": [1, "a", [2]]}))
    return file


@pytest.mark.parametrize("packed", [(), ("--gzip",)])
def test_a_body_is_posted_with_its_headers_and_the_answer_is_checked(tf_serving, tmp_path, body, packed):
    ask = (f"{tf_serving}/echo", "--body", body, "-H", f"Authorization: {TOKEN}", "--check", "first", *packed)
    found, _ = run(tmp_path, *ask)
    assert all_right(found)


def test_a_body_that_is_refused_is_counted_by_its_status(tf_serving, tmp_path, body):
    found, _ = run(tmp_path, f"{tf_serving}/echo", "--body", body)
    assert found["what"] == {"status 401": found["requests"]["sent"]}


def test_each_line_is_a_body(tf_serving, tmp_path):
    lines = tmp_path / "bodies.jsonl"
    lines.write_text('{"a":1}\n\n{"a":[2,3]}\n')
    found, _ = run(tmp_path, f"{tf_serving}/echo", "--body", lines, "-H", f"authorization: {TOKEN}", "-c", "1")
    assert all_right(found)
    mean = (len('{"a": 1}') + len('{"a": [2, 3]}')) / 2
    assert found["bytes"]["received"] / found["requests"]["sent"] == pytest.approx(mean, abs=1)


def test_a_url_with_a_path_and_no_body_is_got(tf_serving, tmp_path):
    found, _ = run(tmp_path, f"{tf_serving}/hello?to=all", "--check", "first")
    assert all_right(found)


# -- V2 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("load", [("-c", "3"), ("--rate", "100")])
@pytest.mark.parametrize("packed", [(), ("--gzip",)])
def test_requests_go_through_streams_over_grpc(ours, tmp_path, load, packed):
    found, _ = run(tmp_path, f"grpc://{ours.grpc_url}", "--stream", *load, *packed, "--check", "first")
    assert all_right(found)


@pytest.mark.parametrize("form", [(), ("--json-tensors",)])
def test_packed_requests_are_smaller_and_their_answers_are_read(ours, tmp_path, form):
    data = tmp_path / "x.npz"
    np.savez(data, x=np.ones((1, 256, 2)), y=2 * np.ones((1, 256, 2)))
    ask = (ours.url, *form, "--input", data, "--check", data)
    (plain, _), (packed, _) = run(tmp_path, *ask), run(tmp_path, *ask, "--gzip")
    assert all_right(plain)
    assert all_right(packed)
    sizes = [found["bytes"]["sent"] / found["requests"]["sent"] for found in (plain, packed)]
    assert sizes[1] < sizes[0] / 2


def test_a_server_without_the_extension_gets_no_binary_tensors(tf_serving, tmp_path):
    found, _ = run(tmp_path, tf_serving, "--check", "first")
    assert all_right(found)


def test_a_server_with_the_extension_gets_binary_tensors(ours, tmp_path):
    ask = (ours.url, "--rows", "64")
    (binary, _), (text, _) = run(tmp_path, *ask), run(tmp_path, *ask, "--json-tensors")
    sizes = [found["bytes"]["sent"] / found["requests"]["sent"] for found in (binary, text)]
    assert sizes[0] < sizes[1] / 1.5


@pytest.mark.parametrize("ready", ["READY", "State.READY", ""])
def test_models_are_listed_over_grpc_in_every_servers_words(ready):
    def index(request, context):
        states = (("a", "1", ready), ("b", "1", "UNAVAILABLE"), ("b", "2", ready), ("c", "1", "LOADING"))
        rows = [pb.RepositoryIndexResponse.ModelIndex(name=n, version=v, state=s) for n, v, s in states]
        return pb.RepositoryIndexResponse(models=rows)

    server = grpc.server(ThreadPoolExecutor(1))
    serialise = pb.RepositoryIndexResponse.SerializeToString
    row = grpc.unary_unary_rpc_method_handler(index, pb.RepositoryIndexRequest.FromString, serialise)
    service = grpc.method_handlers_generic_handler("inference.GRPCInferenceService", {"RepositoryIndex": row})
    server.add_generic_rpc_handlers((service,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with RpcTarget(parse(f"grpc://127.0.0.1:{port}")) as target:
            assert target.models() == ["a", "b"]
    finally:
        server.stop(None).wait()


def attacked(address, request, **slots):
    async def attack():
        course = Course(0, 0.3, timeout_s=0.1)
        return await Attack(Slots(address, **slots), [Shot("m", request)], course, 2).run()

    return uvloop.run(attack())


def test_an_error_in_a_stream_is_a_failure_and_the_stream_goes_on(ours):
    request = pb.ModelInferRequest(model_name="nobody").SerializeToString()
    tally = attacked(ours.grpc_url, request, stream=True)
    assert tally.failed == tally.sent > 2
    assert list(tally.kinds) == ["model 'nobody' is not found"]


@pytest.mark.parametrize(
    ("answers", "kind"), [("silent", "timed out"), ("broken", "UNKNOWN"), ("ended", "stream ended")]
)
def test_a_stream_that_says_nothing_more_is_replaced(answers, kind):
    async def infer(requests, context):
        async for _ in requests:
            if answers == "broken":
                await context.abort(grpc.StatusCode.UNKNOWN)
            if answers == "ended":
                return
        yield pb.ModelStreamInferResponse()

    async def scenario():
        server = grpc.aio.server()
        rows = {"ModelStreamInfer": grpc.stream_stream_rpc_method_handler(infer)}
        handler = grpc.method_handlers_generic_handler("inference.GRPCInferenceService", rows)
        server.add_generic_rpc_handlers((handler,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        slots = Slots(f"127.0.0.1:{port}", stream=True)
        try:
            return await Attack(slots, [Shot("m", b"")], Course(0, 0.5, timeout_s=0.1), 1).run()
        finally:
            await server.stop(None)

    tally = uvloop.run(scenario())
    assert tally.sent == tally.failed + tally.timed_out + tally.unfinished
    assert tally.kinds[kind] > 1


# -- KServe -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kserve():
    if importlib.util.find_spec("kserve") is None:
        pytest.skip("kserve is not for this Python")
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        http, rpc = one.getsockname()[1], two.getsockname()[1]
    line = [sys.executable, str(Path(__file__).parents[1] / "kserve_server.py"), str(http), str(rpc)]
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until_ready(f"http://127.0.0.1:{http}/v2/health/ready", process)
            yield f"127.0.0.1:{http}", f"grpc://127.0.0.1:{rpc}"
        finally:
            process.kill()


def until_ready(url, process):
    end = time.monotonic() + 60
    while True:
        assert process.poll() is None
        assert time.monotonic() < end
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize(("which", "form"), [(0, "--json-tensors"), (0, None), (1, None)])
def test_kserve_answers_v2(kserve, tmp_path, which, form):
    data = tmp_path / "data.npz"
    np.savez(data, x=[[1, 2], [3, 4]], y=[[2, 4], [6, 8]])
    ask = (kserve[which], "-m", "double", "--input", data, "--check", data, *([form] if form else []))
    assert all_right(run(tmp_path, *ask)[0])


@pytest.mark.slow
def test_kserve_answers_v1(kserve, tmp_path):
    body = tmp_path / "body.json"
    body.write_text('{"instances":[[1,2]]}')
    assert all_right(run(tmp_path, f"{kserve[0]}/v1/models/double:predict", "--body", body, "--check", "first")[0])


@pytest.mark.slow
def test_kserve_without_metadata_is_a_sentence(kserve):
    code, _, said = loadtest(kserve[0], "--protocol", "v1", *QUICK)
    assert code == 2
    assert "double/metadata answered 404" in said
