"""Every bad request gets its status and a sentence, and nobody else notices.

Each case goes both ways into the server (short cut and ASGI) and must be answered alike. Meanwhile two other clients
send good requests over connections of their own, and after each case a good one is sent over the same connection.
"""

import gzip
import http.client
import json
import threading
import zlib

import numpy as np
import psutil
import pytest
from raw_http import Connection, ask, chunked, request

INFER = "/v2/models/grid/infer"
GOOD = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.5, -2]}]}
FLOATS = np.array([[1.5, -2]], "<f4").tobytes()


def with_input(model="grid", **fields):
    """(path, body) with the good input changed; None leaves a field out."""
    item = {name: value for name, value in (GOOD["inputs"][0] | fields).items() if value is not None}
    return f"/v2/models/{model}/infer", {"inputs": [item]}


def body(**fields):
    return INFER, GOOD | fields


def text(fragment):
    """A body with a piece of JSON text where the data are."""
    return INFER, json.dumps(GOOD).encode().replace(b"[1.5, -2]", fragment)


def binary(tail, said=None, **parameters):
    """(path, body, headers) of a request with a binary part."""
    item = {"name": "x", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8} | parameters}
    head = json.dumps({"inputs": [item]}).encode()
    return INFER, head + tail, {"inference_header_content_length": len(head) if said is None else said}


def is_right(answer):
    return answer.status == 200 and answer.document["outputs"][0]["data"] == [1.5, -2]


class Bystander(threading.Thread):
    """A client that sends good requests over one connection and looks at every answer."""

    def __init__(self, server, headers, payload, expected):
        super().__init__(daemon=True)
        self._connection = http.client.HTTPConnection(server.url, timeout=30)
        self._request = ("POST", INFER, payload, headers)
        self._expected = expected
        self._ended = threading.Event()
        self.right = 0
        self.wrong = []
        self.start()

    def run(self):
        while not self._ended.wait(0.001):
            try:
                self._connection.request(*self._request)
                answer = self._connection.getresponse()
                found = answer.status, answer.read()
            except (OSError, http.client.HTTPException) as error:
                found = 0, repr(error).encode()
            if found[0] == 200 and self._expected in found[1]:
                self.right += 1
            else:
                self.wrong.append(found)

    def stop(self):
        self._ended.set()
        self.join()
        self._connection.close()


@pytest.fixture(scope="module", autouse=True)
def _bystanders(server):
    _, payload, headers = binary(FLOATS)
    json_client = Bystander(server, {}, json.dumps(GOOD), b'"data":[1.5,-2.0]')
    headers = {name.replace("_", "-"): str(value) for name, value in headers.items()}
    binary_client = Bystander(server, headers | {"expect": "nothing"}, payload, b'"data":[1.5,-2.0]')
    yield
    for client in (json_client, binary_client):
        client.stop()
    for client in (json_client, binary_client):
        assert client.wrong == []
        assert client.right > 50


CASES = {
    # shapes
    "two values for 2**31": (with_input(shape=[1, 2**31]), 400, ["'x'", "2147483648 values", "has 2"]),
    "a product that wraps to 0": (with_input(shape=[2**32, 2**32]), 400, ["'x'", "has 2"]),
    "a product that wraps to 2": (with_input(shape=[2**63 - 1, 2]), 400, ["'x'", "has 2"]),
    "a dimension past 64 bits": (with_input(shape=[2**64, 1]), 400, ["'x'", "18446744073709551616"]),
    "a negative dimension": (with_input(shape=[-1, -2]), 400, ["'x'", "-1"]),
    "ten thousand dimensions": (with_input(shape=[1] * 10_000), 400, ["'x'", "10000 dimensions", "32"]),
    "no elements in a wild shape": (with_input(shape=[0, 2**62, 2**62], data=[]), 400, ["'x'"]),
    "one axis too few": (with_input(shape=[2]), 400, ["'x'", "[-1, -1]", "[2]"]),
    "one axis too many": (with_input(shape=[1, 1, 2]), 400, ["'x'", "[-1, -1]", "[1, 1, 2]"]),
    "a scalar for a matrix": (with_input(shape=[], data=[1]), 400, ["'x'", "[]"]),
    "a matrix for a scalar": (with_input("scalar", shape=[1], data=[1]), 400, ["'x'", "[1]"]),
    "a fixed axis of another size": (with_input("mlp", shape=[2, 1]), 400, ["'x'", "[-1, 64]", "[2, 1]"]),
    "a shape of strings": (with_input(shape=["1", "2"]), 400, ["shape[0]", "`int`", "`str`"]),
    "a shape of fractions": (with_input(shape=[1.0, 2.0]), 400, ["shape[0]", "`int`", "`float`"]),
    "a shape of truth": (with_input(shape=[True, 2]), 400, ["shape[0]", "`int`", "`bool`"]),
    "a shape with null": (with_input(shape=[None, 2]), 400, ["shape[0]", "`null`"]),
    "a shape that is a number": (with_input(shape=2), 400, ["shape", "`array`", "`int`"]),
    # data
    "too few values": (with_input(data=[1]), 400, ["'x'", "[1, 2]", "2 values", "has 1"]),
    "too many values": (with_input(data=[1, 2, 3]), 400, ["'x'", "2 values", "has 3"]),
    "ragged nesting": (with_input(shape=[2, 2], data=[[1, 2], [3]]), 400, ["'x'", "list of 2", "list of 1"]),
    "values beside lists": (with_input(shape=[2, 1], data=[[1], 2]), 400, ["'x'", "list of 1", "single value"]),
    "lists beside values": (with_input(shape=[1, 2], data=[1, [2]]), 400, ["'x'", "lists and values"]),
    "truth beside lists": (with_input("same_BOOL", datatype="BOOL", shape=[2], data=[True, [False]]), 400, ["'x'"]),
    "strings beside lists": (with_input("same_BYTES", datatype="BYTES", shape=[2], data=["a", ["b"]]), 400, ["'x'"]),
    "nesting of another shape": (with_input(shape=[1, 2], data=[[1], [2]]), 400, ["'x'", "[1, 2]"]),
    "nesting too deep": (with_input(data=[[[1, 2]]]), 400, ["'x'", "[1, 2]"]),
    "null": (with_input(data=[None, 1]), 400, ["'x'", "float", "`null`"]),
    "true": (with_input(data=[True, 1]), 400, ["'x'", "float", "`bool`"]),
    "a string for a number": (with_input(data=["1", 1]), 400, ["'x'", "float", "`str`"]),
    "an object for a number": (with_input(data=[{}, 1]), 400, ["'x'", "float", "`object`"]),
    "1e39 into FP32": (with_input(data=[1, 1e39]), 400, ["'x'", "1e+39", "position 1", "FP32"]),
    "1e400": (text(b"[1, 1e400]"), 400, ["'x'", "out of range"]),
    "NaN": (text(b"[1, NaN]"), 400, ["malformed"]),
    "Infinity": (text(b"[1, -Infinity]"), 400, ["malformed"]),
    "data that are a number": (with_input(data=1), 400, ["'x'", "`array`", "`int`"]),
    "data that are null": (text(b"null"), 400, ["'x'", "`array`", "`null`"]),
    "300 into INT8": (
        with_input("same_INT8", datatype="INT8", shape=[1], data=[300]),
        400,
        ["'x'", "300", "-128 to 127"],
    ),
    "-1 into UINT64": (
        with_input("same_UINT64", datatype="UINT64", shape=[1], data=[-1]),
        400,
        ["'x'", "-1", "UINT64"],
    ),
    "2**70 into INT64": (with_input("same_INT64", datatype="INT64", shape=[1], data=[2**70]), 400, ["'x'", "INT64"]),
    "1.5 into INT64": (
        with_input("same_INT64", datatype="INT64", shape=[1], data=[1.5]),
        400,
        ["'x'", "int", "`float`"],
    ),
    "1 into BOOL": (with_input("same_BOOL", datatype="BOOL", shape=[1], data=[1]), 400, ["'x'", "bool", "`int`"]),
    "1 into BYTES": (with_input("same_BYTES", datatype="BYTES", shape=[1], data=[1]), 400, ["'x'", "str", "`int`"]),
    "FP16 as JSON": (with_input("same_FP16", datatype="FP16", shape=[1], data=[1]), 400, ["'x'", "FP16", "binary"]),
    # tensors
    "no inputs": (body(inputs=[]), 400, ["'grid'", "'x'", "lacks"]),
    "inputs that are null": (body(inputs=None), 400, ["inputs", "`array`", "`null`"]),
    "inputs that are an object": (body(inputs={}), 400, ["inputs", "`array`", "`object`"]),
    "an input that is a string": (body(inputs=["x"]), 400, ["inputs[0]", "`object`", "`str`"]),
    "one of two inputs": (with_input("pair", name="a", shape=[1, 4], data=[0] * 4), 400, ["'pair'", "'b'", "lacks"]),
    "the same input twice": (body(inputs=GOOD["inputs"] * 2), 400, ["'x'", "twice"]),
    "an unknown input": (with_input(name="nose"), 400, ["'grid'", "'nose'", "'x'"]),
    "an unknown input beside": (
        body(inputs=[*GOOD["inputs"], GOOD["inputs"][0] | {"name": "y"}]),
        400,
        ["no input 'y'", "'x'"],
    ),
    "rows that differ": (
        (
            "/v2/models/pair/infer",
            {
                "inputs": [
                    {"name": name, "datatype": "FP32", "shape": [rows, 4], "data": [0] * 4 * rows}
                    for name, rows in (("a", 2), ("b", 3))
                ]
            },
        ),
        400,
        ["'a' has 2", "'b' has 3"],
    ),
    "an input without a name": (with_input(name=None), 400, ["inputs[0]", "`name`"]),
    "an input without a shape": (with_input(shape=None), 400, ["inputs[0]", "`shape`"]),
    "an input without a datatype": (with_input(datatype=None), 400, ["inputs[0]", "`datatype`"]),
    "an input without data": (with_input(data=None), 400, ["'x'", "neither data nor"]),
    "an unknown datatype": (with_input(datatype="float32"), 400, ["'x'", "'float32'", "FP32"]),
    "a datatype of another case": (with_input(datatype="fp32"), 400, ["'x'", "'fp32'"]),
    "another datatype": (with_input(datatype="FP64"), 400, ["'x'", "FP32", "FP64"]),
    "an unknown output": (body(outputs=[{"name": "nose"}]), 400, ["'grid'", "'nose'", "'y'"]),
    "the same output twice": (body(outputs=[{"name": "y"}] * 2), 400, ["'y'", "twice"]),
    "an output without a name": (body(outputs=[{}]), 400, ["outputs[0]", "`name`"]),
    "a classification of -1": (
        body(outputs=[{"name": "y", "parameters": {"classification": -1}}]),
        400,
        ["classification", "'y'", "-1"],
    ),
    "a binary_data of 1": (
        body(outputs=[{"name": "y", "parameters": {"binary_data": 1}}]),
        400,
        ["binary_data", "'y'"],
    ),
    "a timeout of -1": (body(parameters={"timeout": -1}), 400, ["timeout", "-1"]),
    "an id that is a number": (body(id=7), 400, ["id", "`str`", "`int`"]),
    "parameters that are null": (body(parameters=None), 400, ["parameters", "`object`", "`null`"]),
    "an index that the graph rejects": (
        with_input("gather", name="ids", datatype="INT64", shape=[1, 1], data=[99]),
        400,
        ["gather", "99"],
    ),
    "a name without end": (with_input(name="n" * 500_000), 400, ["no input 'nnn"]),
    "a datatype without end": (with_input(datatype="n" * 500_000), 400, ["'x'", "unknown datatype"]),
    # JSON
    "no body": ((INFER, b""), 400, ["truncated"]),
    "half a body": ((INFER, json.dumps(GOOD).encode()[:-9]), 400, ["malformed|truncated"]),
    "two bodies": ((INFER, json.dumps(GOOD).encode() * 2), 400, ["trailing"]),
    "a list": ((INFER, []), 400, ["`object`", "`array`"]),
    "null for all": ((INFER, None), 400, ["`object`", "`null`"]),
    "a comma too many": (text(b"[1,2,]"), 400, ["malformed"]),
    "bad UTF-8 in a name": ((INFER, json.dumps(GOOD).encode().replace(b'"x"', b'"\xff"')), 400, ["utf-8"]),
    "bad UTF-8 in a text": (
        (
            "/v2/models/same_BYTES/infer",
            b'{"inputs":[{"name":"x","datatype":"BYTES","shape":[1],"data":["\xff"]}]}',
        ),
        400,
        ["'x'", "utf-8"],
    ),
    "half a surrogate": (text(rb'["\ud800", 1]'), 400, ["malformed|truncated"]),
    "UTF-16": ((INFER, json.dumps(GOOD).encode("utf-16")), 400, ["malformed"]),
    "data 50,000 deep": (text(b"[" * 50_000 + b"]" * 50_000), 400, ["recursion"]),
    "objects 50,000 deep": ((INFER, b'{"a":' * 50_000 + b"1" + b"}" * 50_000), 400, ["recursion"]),
    "digits without end": (text(b"[" + b"9" * 100_000 + b"]"), 400, ["out of range"]),
    # binary parts
    "a binary part that is cut": (binary(FLOATS[:-1]), 400, ["'x'", "8", "7 bytes"]),
    "a binary part that is too long": (binary(FLOATS + b"z"), 400, ["9 bytes", "8"]),
    "no binary part": (binary(b""), 400, ["'x'", "8", "0 bytes"]),
    "a size that does not fit the shape": (binary(FLOATS[:4], binary_data_size=4), 400, ["'x'", "8 bytes", "4"]),
    "a size of -8": (binary(FLOATS, binary_data_size=-8), 400, ["'x'", "-8"]),
    "a size of 2**63": (binary(FLOATS, binary_data_size=2**63), 400, ["'x'"]),
    "a size that is a string": (binary(FLOATS, binary_data_size="8"), 400, ["'x'", "'8'"]),
    "a JSON part longer than the body": (
        binary(FLOATS, said=10_000),
        400,
        ["Inference-Header-Content-Length", "10000"],
    ),
    "a JSON part that is too short": (binary(FLOATS, said=5), 400, ["truncated"]),
    "a JSON part of -1": (binary(FLOATS, said=-1), 400, ["Inference-Header-Content-Length", "'-1'"]),
    "a JSON part of many digits": (binary(FLOATS, said="9" * 30), 400, ["Inference-Header-Content-Length"]),
    "a JSON part of x": (binary(FLOATS, said="x"), 400, ["Inference-Header-Content-Length", "'x'"]),
    "a binary part nobody asked for": ((INFER, json.dumps(GOOD).encode() + FLOATS), 400, ["trailing|malformed"]),
    "a raw body of the wrong size": (
        ("/v2/models/mlp/infer", b"abc", {"inference_header_content_length": 0}),
        400,
        ["'x'", "256 bytes", "3"],
    ),
    "a raw body for two inputs": (
        ("/v2/models/pair/infer", b"abc", {"inference_header_content_length": 0}),
        400,
        ["'pair'", "one input", "2"],
    ),
    "a raw body for no model": (
        ("/v2/models/none/infer", b"a", {"inference_header_content_length": 0}),
        404,
        ["'none'"],
    ),
    "bad UTF-8 in a raw text": (
        ("/v2/models/same_BYTES/infer", b"\xff", {"inference_header_content_length": 0}),
        400,
        ["'x'", "UTF-8"],
    ),
    # models
    "an unknown model": (("/v2/models/none/infer", GOOD), 404, ["'none'"]),
    "an unknown version": (("/v2/models/grid/versions/7/infer", GOOD), 404, ["'grid'", "7", "1, 2"]),
    "version 0": (("/v2/models/grid/versions/0/infer", GOOD), 404, ["'grid'", "0"]),
    "version -1": (("/v2/models/grid/versions/-1/infer", GOOD), 404, ["'grid'", "'-1'", "there is 1, 2"]),
    "version latest": (("/v2/models/grid/versions/latest/infer", GOOD), 404, ["'latest'", "there is 1, 2"]),
    "an unknown label": (("/v2/models/split/versions/stabel/infer", GOOD), 404, ["'stabel'", "1, 2, stable, canary"]),
    "a label that is too long": ((f"/v2/models/split/versions/{'x' * 65}/infer", GOOD), 404, ["there is 1, 2"]),
    "a label with a space": (("/v2/models/split/versions/can%20ary/infer", GOOD), 404, ["'can ary'", "canary"]),
    "version of many digits": (
        ("/v2/models/grid/versions/99999999999999999999999/infer", GOOD),
        404,
        ["there is 1, 2"],
    ),
    "version of five thousand digits": ((f"/v2/models/grid/versions/{'9' * 5000}/infer", GOOD), 404, ["there is 1, 2"]),
    "version of other digits": (("/v2/models/grid/versions/%C2%B2/infer", GOOD), 404, ["there is 1, 2"]),
    "a broken model": (("/v2/models/broken/infer", GOOD), 503, ["'broken'", "not ready"]),
    "a name that climbs": (("/v2/models/..%2f..%2fetc/infer", GOOD), 404, ["Not Found"]),
    "a name of dots": (("/v2/models/../infer", GOOD), 404, ["'..'"]),
    "a name of NUL": (("/v2/models/%00/infer", GOOD), 404, ["x00"]),
    "a name of line breaks": (("/v2/models/a%0d%0ab/infer", GOOD), 404, ["not found"]),
    "a name of no UTF-8": (("/v2/models/%ff%fe/infer", GOOD), 404, ["not found"]),
    "a very long name": ((f"/v2/models/{'a' * 7000}/infer", GOOD), 404, ["not found"]),
    "no name": (("/v2/models//infer", GOOD), 404, ["Not Found"]),
    "a double slash": (("//v2/models/grid/infer", GOOD), 404, ["Not Found"]),
    # heads
    "another content-type": ((INFER, GOOD, {"content_type": "text/csv"}), 415, ["'text/csv'", "application/json"]),
    "an unknown coding": ((INFER, GOOD, {"content_encoding": "br"}), 415, ["'br'", "gzip"]),
    "no gzip": ((INFER, GOOD, {"content_encoding": "gzip"}), 400, ["gzip"]),
    "half a gzip": (
        (INFER, gzip.compress(json.dumps(GOOD).encode())[:-9], {"content_encoding": "gzip"}),
        400,
        ["cut off"],
    ),
    "half a deflate": (
        (INFER, zlib.compress(json.dumps(GOOD).encode())[:-3], {"content_encoding": "deflate"}),
        400,
        ["cut off"],
    ),
    "a gzip bomb": ((INFER, gzip.compress(bytes(50_000_000)), {"content_encoding": "gzip"}), 413, ["1000000"]),
    "a deflate bomb": ((INFER, zlib.compress(bytes(50_000_000)), {"content_encoding": "deflate"}), 413, ["1000000"]),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_request_is_told_why_and_harms_nobody(server, case):
    (path, payload, *more), status, words = CASES[case]
    headers = more[0] if more else {}
    answers = {}
    for way, data in (("short cut", request(path, payload, **headers)), ("ASGI", chunked(path, payload, **headers))):
        with Connection(server.http_port) as connection:
            connection.send(data)
            answers[way] = connection.answer()
            connection.send(request(INFER, GOOD))
            assert is_right(connection.answer()), "the connection goes on"

    refusal = answers["short cut"]
    assert refusal.status == status
    assert refusal.headers["content-type"] == "application/json"
    assert all(any(each in refusal.error for each in word.split("|")) for word in words), refusal.error
    assert len(refusal.body) < 10_000
    assert (answers["ASGI"].status, answers["ASGI"].body) == (refusal.status, refusal.body)


@pytest.mark.parametrize("deep", [b'{"inputs":' + b"[" * 10_000_000, b'{"a":' * 10_000_000], ids=["lists", "objects"])
def test_document_ten_million_deep_is_refused(server, deep):
    """Ten megabytes pass no limit here; packed they would. test_codec.py has them past the limit."""
    assert ask(server.http_port, request(INFER, deep)).status == 413
    assert ask(server.http_port, request(INFER, gzip.compress(deep), content_encoding="gzip")).status == 413
    assert is_right(ask(server.http_port, request(INFER, GOOD)))


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", INFER, 405),
        ("PUT", INFER, 405),
        ("DELETE", "/v2/models/grid", 405),
        ("POST", "/v2/health/live", 405),
        ("GET", "/v2/repository/index", 405),
        ("OPTIONS", INFER, 405),
        ("POST", "/v2/repository/models/grid/load", 400),
        ("POST", "/v2/repository/models/grid/unload", 400),
        ("POST", "/v2/models/grid/generate", 501),
        ("POST", "/v2/models/grid/versions/1/generate_stream", 501),
        ("GET", "/v2/models/grid/trace/setting", 501),
        ("GET", "/v2/logging", 501),
        ("GET", "/v2/systemsharedmemory/status", 501),
        ("POST", "/v2/cudasharedmemory/region/a/register", 501),
        ("GET", "/", 307),
        ("GET", "/nothing", 404),
        ("GET", "/v2/", 307),
        ("GET", "/v2/models/none", 404),
        ("GET", "/v2/models/none/ready", 404),
        ("GET", "/v2/models/none/config", 404),
        ("GET", "/v2/models/none/stats", 404),
        ("GET", "/v2/models/broken", 503),
        ("GET", "/v2/models/broken/ready", 503),
        ("GET", "/v2/models/broken/config", 503),
        ("GET", "/v2/models/broken/stats", 503),
        ("GET", "/v2/models/grid/versions/%C2%B2/ready", 404),
        ("GET", f"/v2/models/grid/versions/{'9' * 5000}/ready", 404),
        ("GET", f"/v2/models/grid/versions/{'9' * 5000}/stats", 404),
        ("GET", "/v2/models/..%2f..%2fetc%2fpasswd", 404),
        ("GET", "/v2/models/%00/config", 404),
        ("GET", "/..%2f..%2fetc/passwd", 404),
    ],
)
def test_path_that_leads_nowhere_says_so(server, method, path, status):
    answer = ask(server.http_port, request(path, method=method))
    assert answer.status == status
    if status not in (307, 503) or not path.endswith("/ready"):
        assert status == 307 or answer.error


@pytest.mark.parametrize(
    "payload", [b"{", b"[]", b'{"ready":1}', b'{"ready":null}', b"\xff", b"[" * 50_000], ids=lambda payload: payload[:9]
)
def test_bad_body_of_an_index_request_is_told_why(server, payload):
    answer = ask(server.http_port, request("/v2/repository/index", payload))
    assert answer.status == 400
    assert "request is empty or" in answer.error or "index request" in answer.error


def test_index_request_with_an_endless_body_is_refused(server):
    assert ask(server.http_port, request("/v2/repository/index", bytes(1 << 17))).status == 413


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300), 400),
        (b"\0" * 1000, 400),
        (b"hello\r\n\r\n", 400),
        (b"SSH-2.0-OpenSSH_9.6\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (request(INFER, b"zz\r\n", content_length=None, transfer_encoding="chunked"), 400),
        (request(INFER, GOOD, transfer_encoding="chunked"), 400),
        (request(INFER, content_length="-1"), 400),
        (b"CONNECT host:443 HTTP/1.1\r\n\r\n", 405),
        (request("/" + "a" * 9000, method="GET"), 414),
        (request("/v2", method="GET", a="x" * 70_000), 431),
    ],
    ids=["TLS", "zeros", "words", "SSH", "HTTP/2", "a bad chunk", "two lengths", "-1", "CONNECT", "URL", "head"],
)
def test_what_is_no_request_is_refused_and_the_connection_closed(server, data, status):
    with Connection(server.http_port) as connection:
        connection.send(data)
        answer = connection.answer()
        assert (answer.status, answer.headers["connection"]) == (status, "close")
        assert answer.error
        assert connection.closed()
    assert is_right(ask(server.http_port, request(INFER, GOOD)))


# -- sizes ------------------------------------------------------------------------------------------------------------

HUGE = 100_000_000


@pytest.mark.parametrize(
    "data",
    [
        request(INFER, b"", content_length=HUGE),
        request(INFER, b"", content_length=HUGE, expect="100-continue"),
        request(INFER, b"", content_length=HUGE, content_encoding="gzip"),
        request(INFER, b"", content_length=10**17),
    ],
    ids=["plain", "Expect", "packed", "absurd"],
)
def test_body_that_announces_too_much_is_refused_before_it_comes(server, data):
    with Connection(server.http_port) as connection:
        connection.send(data)
        answer = connection.answer()
        assert answer.status == 413
        assert "1000000" in answer.error


@pytest.mark.parametrize("head", [{"content_length": HUGE}, {"content_length": None, "transfer_encoding": "chunked"}])
def test_hundred_megabytes_are_refused_and_not_kept(server, head):
    piece = bytes(1 << 20)
    if head["content_length"] is None:
        piece = b"%x\r\n%b\r\n" % (len(piece), piece)
    before = memory_of(server)
    with Connection(server.http_port) as connection:
        connection.send(request(INFER, **head))
        while connection.send(piece) and not (refusal := connection.received()):
            pass
        assert memory_of(server) - before < 20_000_000
        for _ in range(HUGE // len(piece)):
            if not connection.send(piece):
                break
        assert connection.answer().status == 413
        assert refusal
    assert memory_of(server) - before < 20_000_000
    assert is_right(ask(server.http_port, request(INFER, GOOD)))


def memory_of(server):
    """Bytes that the replicas have in memory."""
    return sum(psutil.Process(pid).memory_info().rss for pid in server.replica_pids())
