"""Public clients and hostile bytes against a real server."""

import gzip
import http.client
import json
import socket
import zlib

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from headrace.datatypes import Datatype

DIGIT = [0,0,2,13,16,9,0,0,0,0,12,12,7,16,3,0,0,1,14,3,0,16,4,0,0,0,0,4,10,16,6,0,0,0,0,13,16,16,9,0,0,0,0,5,13,1,0,0,0,0,0,11,9,0,0,0,0,0,1,16,4,0,0,0]  # fmt: skip # noqa: E501
BODY = {"inputs": [{"name": "pixels", "datatype": "FP32", "shape": [1, 64], "data": DIGIT}]}
INFER = "/v2/models/digits/infer"
EXAMPLES = {
    "BOOL": [True, False],
    "FP16": [1.5, -2.0],
    "FP32": [1.5, np.nan],
    "FP64": [1e300, -0.0],
    "BF16": [1.5, -2.0],
    "BYTES": ["é", ""],
}


def post(server, body, path=INFER, headers=None):
    connection = http.client.HTTPConnection(server.url, timeout=30)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request("POST", path, data, headers or {})
    answer = connection.getresponse()
    result = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return result


def raw(server, data, shut=False):
    """Everything the server answers to `data` until it closes or falls silent."""
    with socket.create_connection(("127.0.0.1", server.http_port), timeout=5) as sock:
        sock.sendall(data)
        if shut:
            sock.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while chunk := sock.recv(65536):
                answer += chunk
        except (TimeoutError, ConnectionResetError):
            pass
        return answer


def request_bytes(body, path=INFER, extra=b"connection: close\r\n"):
    data = json.dumps(body).encode()
    return b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n%b\r\n%b" % (path.encode(), len(data), extra, data)


@pytest.fixture
def client(server):
    with triton.InferenceServerClient(server.url) as client:
        yield client


def is_seven(answer):
    status, _, body = answer
    return status == 200 and json.loads(body)["outputs"][0]["data"] == [7]


def test_tritonclient_reads_every_document(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("digits", "1")
    assert client.get_server_metadata()["name"] == "headrace"
    assert client.get_model_metadata("digits")["inputs"] == [{"name": "pixels", "datatype": "FP32", "shape": [-1, 64]}]
    assert client.get_model_config("digits")["max_batch_size"] == 64
    assert client.get_inference_statistics("digits")["model_stats"][0]["name"] == "digits"
    index = {row["name"]: row for row in client.get_model_repository_index()}
    assert index["digits"]["state"] == "READY"
    assert index["broken"]["state"] == "UNAVAILABLE"
    assert "broken" in index["broken"]["reason"]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
@pytest.mark.parametrize("datatype", list(Datatype), ids=lambda datatype: datatype.value)
def test_every_datatype_comes_back_as_it_went(client, datatype, binary_in, binary_out):
    values = np.array(EXAMPLES.get(datatype.value, [0, 7]), datatype.numpy)
    only_binary = datatype in (Datatype.FP16, Datatype.BF16)
    if only_binary and not (binary_in and binary_out):
        pytest.skip("has no JSON form")
    if datatype is Datatype.FP32 and not binary_in:
        values = np.array([1.5, 2.5], np.float32)
    tensor = triton.InferInput("x", [2], datatype.value)
    tensor.set_data_from_numpy(values, binary_data=binary_in)
    asked = triton.InferRequestedOutput("y", binary_data=binary_out)

    back = client.infer(f"same_{datatype.value}", [tensor], outputs=[asked], request_id="me").as_numpy("y")

    if datatype is Datatype.BYTES:
        texts = [each.decode() if isinstance(each, bytes) else each for each in back]
        assert texts == values.tolist()
    elif datatype is Datatype.BF16:
        assert back.astype(np.float32).tolist() == values.astype(np.float32).tolist()
    else:
        assert np.array_equal(back, values, equal_nan=values.dtype.kind == "f")


def test_tritonclient_gets_classes(client):
    tensor = triton.InferInput("pixels", [1, 64], "FP32")
    tensor.set_data_from_numpy(np.array([DIGIT], np.float32))

    best = client.infer("digits", [tensor], outputs=[triton.InferRequestedOutput("probabilities", class_count=2)])

    value, index, label = best.as_numpy("probabilities")[0, 0].decode().split(":")
    assert (index, label) == ("7", "7") or index == "7"
    assert float(value) > 0.9


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_tritonclient_compresses_both_ways(client, coding):
    tensor = triton.InferInput("pixels", [1, 64], "FP32")
    tensor.set_data_from_numpy(np.array([DIGIT], np.float32))

    answer = client.infer(
        "digits", [tensor], request_compression_algorithm=coding, response_compression_algorithm=coding
    )

    assert answer.as_numpy("digit").tolist() == [7]


def test_tritonclient_hears_why(client):
    tensor = triton.InferInput("pixels", [1, 63], "FP32")
    tensor.set_data_from_numpy(np.zeros((1, 63), np.float32))
    with pytest.raises(InferenceServerException, match=r"'pixels' .* \[-1, 64\] .* \[1, 63\]"):
        client.infer("digits", [tensor])


GOOD = {
    "plain": BODY,
    "nested": {"inputs": [BODY["inputs"][0] | {"data": [DIGIT]}]},
    "with an id": BODY | {"id": "me"},
    "one output": BODY | {"outputs": [{"name": "digit"}]},
    "classes": BODY | {"outputs": [{"name": "probabilities", "parameters": {"classification": 3}}]},
    "binary out": BODY | {"parameters": {"binary_data_output": True}},
}


@pytest.mark.parametrize("case", GOOD)
def test_good_requests_get_the_same_answer_on_both_ways(server, case):
    short = post(server, GOOD[case])
    asgi = post(server, GOOD[case], headers={"content-encoding": "identity"})
    kept = ("content-type", "content-length", "inference-header-content-length")
    assert short[0] == asgi[0] == 200
    assert short[2] == asgi[2]
    assert [short[1].get(name) for name in kept] == [asgi[1].get(name) for name in kept]


def changed(**fields):
    return {"inputs": [BODY["inputs"][0] | fields]}


BAD = {
    "not JSON": (b"{", 400),
    "no body": (b"", 400),
    "NaN": (b'{"inputs":[{"name":"pixels","datatype":"FP32","shape":[1],"data":[NaN]}]}', 400),
    "50,000 deep": (b'{"inputs":' + b"[" * 50_000 + b"]" * 50_000 + b"}", 400),
    "data 50,000 deep": (
        json.dumps(changed(data=0)).encode().replace(b"0}", b"[" * 50_000 + b"]" * 50_000 + b"}"),
        400,
    ),
    "no inputs": ({"inputs": []}, 400),
    "twice": ({"inputs": BODY["inputs"] * 2}, 400),
    "unknown input": (changed(name="nose"), 400),
    "unknown output": (BODY | {"outputs": [{"name": "nose"}]}, 400),
    "unknown datatype": (changed(datatype="FP31"), 400),
    "wrong datatype": (changed(datatype="FP64"), 400),
    "FP16 as JSON": (changed(datatype="FP16"), 400),
    "shape against data": (changed(shape=[2, 64]), 400),
    "2**31 rows, 64 values": (changed(shape=[2**31, 64]), 400),
    "a product that wraps": (changed(shape=[2**32, 2**32, 64]), 400),
    "negative": (changed(shape=[-1, -64]), 400),
    "ten thousand dimensions": (changed(shape=[1] * 10_000), 400),
    "no element, wild shape": (changed(shape=[0, 2**62, 2**62], data=[]), 400),
    "ragged": (changed(data=[DIGIT, [1]]), 400),
    "texts for numbers": (changed(data=["1"] * 64), 400),
    "null": (changed(data=[None] * 64), 400),
    "true": (changed(data=[True] * 64), 400),
    "1e39 into FP32": (changed(data=[1e39] * 64), 400),
    "size without binary data": (changed(parameters={"binary_data_size": 256}), 400),
    "size below zero": (
        {"inputs": [{"name": "pixels", "datatype": "FP32", "shape": [1, 64], "parameters": {"binary_data_size": -4}}]},
        400,
    ),
    "classification of text": (BODY | {"outputs": [{"name": "digit", "parameters": {"classification": "all"}}]}, 400),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_bodies_are_told_why_on_both_ways(server, case):
    body, status = BAD[case]
    short = post(server, body)
    asgi = post(server, body, headers={"content-encoding": "identity"})

    assert short[0] == status
    assert json.loads(short[2])["error"]
    assert (asgi[0], asgi[2]) == (short[0], short[2]), "content-encoding sends it the other way: same answer"
    assert is_seven(post(server, BODY))


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v2/models/none/infer", 404),
        ("/v2/models/..%2f..%2fetc/infer", 404),
        ("/v2/models/%00/infer", 404),
        (f"/v2/models/{'a' * 4000}/infer", 404),
        ("/v2/models/digits/versions/0/infer", 404),
        ("/v2/models/digits/versions/-1/infer", 404),
        ("/v2/models/digits/versions/99999999999999999999999/infer", 404),
        ("/v2/models/digits/versions/latest/infer", 404),
        ("/v2/models/broken/infer", 503),
        ("/v2/repository/models/digits/load", 501),
        ("/v2/models/digits/generate", 501),
        ("/nothing", 404),
        ("/v2/health/live", 405),
    ],
)
def test_paths_that_lead_nowhere(server, path, status):
    answer = post(server, BODY, path)
    assert answer[0] == status
    assert json.loads(answer[2])["error"]


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"content-type": "text/csv"}, BODY, 415),
        ({"content-encoding": "br"}, BODY, 415),
        ({"content-encoding": "gzip"}, b"no gzip", 400),
        ({"content-encoding": "gzip"}, gzip.compress(json.dumps(BODY).encode())[:-9], 400),
        ({"content-encoding": "gzip"}, gzip.compress(bytes(50_000_000)), 413),
        ({"content-encoding": "deflate"}, zlib.compress(bytes(50_000_000)), 413),
        ({"inference-header-content-length": "abc"}, BODY, 400),
        ({"inference-header-content-length": "99999999"}, BODY, 400),
        ({"inference-header-content-length": "2"}, BODY, 400),
    ],
)
def test_bad_heads(server, headers, body, status):
    answer = post(server, body, headers=headers)
    assert answer[0] == status
    assert json.loads(answer[2])["error"]
    assert is_seven(post(server, BODY))


def test_binary_parts_that_are_too_short_or_too_long_are_refused(server):
    head = json.dumps(
        {"inputs": [{"name": "pixels", "datatype": "FP32", "shape": [1, 64], "parameters": {"binary_data_size": 256}}]}
    ).encode()
    headers = {"inference-header-content-length": str(len(head))}
    good = np.array(DIGIT, np.float32).tobytes()
    assert is_seven(post(server, head + good, headers=headers))
    for tail in (good[:-1], good + b"x", b""):
        status, _, body = post(server, head + tail, headers=headers)
        assert status == 400
        assert b"256" in body


def test_a_whole_body_may_be_the_one_tensor(server):
    answer = post(server, np.array(DIGIT, np.float32).tobytes(), headers={"inference-header-content-length": "0"})
    status, headers, body = answer
    length = int(headers["inference-header-content-length"])
    assert status == 200
    assert np.frombuffer(body[length : length + 8], np.int64).tolist() == [7]


def test_a_body_over_the_limit_is_refused_before_it_is_sent(server):
    answer = raw(server, b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: 100000000\r\n\r\n" % INFER.encode())
    assert answer.startswith(b"HTTP/1.1 413")


def test_requests_cut_at_any_byte_are_put_together(server):
    data = request_bytes(BODY)
    for cut in range(1, 160, 7):
        with socket.create_connection(("127.0.0.1", server.http_port), timeout=5) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(data[:cut])
            sock.sendall(data[cut:])
            assert b"[7]" in b"".join(iter(lambda sock=sock: sock.recv(65536), b""))


def test_pipelined_requests_are_answered_in_order(server):
    kept = request_bytes(BODY | {"id": "1"}, extra=b"")
    ready = b"GET /v2 HTTP/1.1\r\nhost: x\r\n\r\n"
    last = request_bytes(BODY | {"id": "3"})
    answer = raw(server, kept + ready + kept.replace(b'"id": "1"', b'"id": "2"') + last)
    marks = [answer.index(mark) for mark in (b'"id":"1"', b'"extensions"', b'"id":"2"', b'"id":"3"')]
    assert marks == sorted(marks)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), b"400"),
        (b"garbage\r\n\r\n", b"400"),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"POST /v2/models/digits/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{", b"408"),
        (b"POST /v2/mod", b"408"),
    ],
)
def test_what_is_no_request_is_refused_and_the_connection_closed(server, data, status):
    assert raw(server, data).split(b" ")[1] == status
    assert is_seven(post(server, BODY))


def test_a_head_without_end_is_refused(server):
    answer = raw(server, b"GET /v2 HTTP/1.1\r\n" + b"".join(b"a%d: %b\r\n" % (i, b"x" * 1000) for i in range(1000)))
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431")  # the answer may meet our own unread bytes
    assert is_seven(post(server, BODY))


@pytest.mark.parametrize("extra", [b"", b"transfer-encoding: chunked\r\n"])
def test_a_client_that_closes_its_side_is_no_trouble(server, extra):
    raw(server, request_bytes(BODY, extra=extra), shut=True)
    assert is_seven(post(server, BODY))


def test_metrics_add_up(server):
    before = _metric(server, 'headrace_requests_total{model="mlp",version="1"}')
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 64], "data": [0.5] * 128}]}
    for _ in range(5):
        assert post(server, body, "/v2/models/mlp/infer")[0] == 200
    assert _metric(server, 'headrace_requests_total{model="mlp",version="1"}') == before + 5
    assert _metric(server, 'headrace_requests_in_flight{model="mlp",version="1"}') == 0
    assert _metric(server, 'headrace_queue_rows{model="mlp",version="1"}') == 0


def _metric(server, series):
    for line in server.get("/metrics").decode().splitlines():
        if line.startswith(series):
            return float(line.rsplit(" ", 1)[1])
    return 0.0


def test_the_page_of_api_docs_describes_infer(server):
    paths = json.loads(server.get("/openapi.json"))["paths"]
    assert "requestBody" in paths["/v2/models/{model}/infer"]["post"]
    assert b"swagger" in server.get("/docs").lower()
