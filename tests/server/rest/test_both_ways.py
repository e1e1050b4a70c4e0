"""The same request by any way in has the same answer: status, body and every header that says something about it.

The ways: the short cut with an unknown head, the short cut with a known one, and several to ASGI. `test_bad_input.py`
does the same for bad requests.
"""

import gzip
import json
import zlib

import numpy as np
import pytest
from raw_http import Connection, chunked, request

FLOATS = np.array([[1.5, -2, 3], [4, 5, 6]], "<f4")


def tensor(name="x", datatype="FP32", shape=(2, 3), **more):
    return {"name": name, "datatype": datatype, "shape": list(shape)} | (more or {"data": FLOATS.ravel().tolist()})


def text(*inputs, **fields):
    return json.dumps({"inputs": inputs} | fields).encode()


def with_binary(inputs, tail, **fields):
    head = text(*inputs, **fields)
    return head + tail, {"inference_header_content_length": len(head)}


BINARY = tensor(parameters={"binary_data_size": FLOATS.nbytes})
BINARY_OUT = {"parameters": {"binary_data_output": True}}
GRID = "/v2/models/grid/infer"

GOOD = {
    "JSON": (GRID, text(tensor())),
    "nested JSON": (GRID, text(tensor(data=FLOATS.tolist()))),
    "no rows": (GRID, text(tensor(shape=[0, 3], data=[]))),
    "no columns": (GRID, text(tensor(shape=[2, 0], data=[]))),
    "a version": ("/v2/models/grid/versions/1/infer", text(tensor())),
    "a version written oddly": ("/v2/models/grid/versions/001/infer", text(tensor())),
    "a label": ("/v2/models/split/versions/canary/infer", text(tensor(shape=[1, 2], data=[1, 2]))),
    "a share by key": (
        "/v2/models/split/infer",
        text(tensor(shape=[1, 2], data=[1, 2])),
        {"headrace_sticky": "user \xe9"},
    ),
    "a share by id": ("/v2/models/split/infer", text(tensor(shape=[1, 2], data=[1, 2]), id="\u20ac 7")),
    "a share of raw": (
        "/v2/models/split/infer",
        np.ones(2, "<f4").tobytes(),
        {"inference_header_content_length": 0, "headrace_sticky": "user 2"},
    ),
    "id and parameters": (GRID, text(tensor(), id='é"', parameters={"priority": 3, "mine": [1, {"a": None}]})),
    "one output": (GRID, text(tensor(), outputs=[{"name": "y"}])),
    "binary in": (GRID, *with_binary([BINARY], FLOATS.tobytes())),
    "binary out": (GRID, text(tensor(), **BINARY_OUT)),
    "binary in and out": (GRID, *with_binary([BINARY], FLOATS.tobytes(), **BINARY_OUT)),
    "one output in binary": (GRID, text(tensor(), outputs=[{"name": "y", "parameters": {"binary_data": True}}])),
    "raw": ("/v2/models/mlp/infer", np.ones(64, "<f4").tobytes(), {"inference_header_content_length": 0}),
    "classes": (GRID, text(tensor(), outputs=[{"name": "y", "parameters": {"classification": 2}}])),
    "classes of no rows": (
        GRID,
        text(tensor(shape=[0, 3], data=[]), outputs=[{"name": "y", "parameters": {"classification": 2}}]),
    ),
    "a scalar": ("/v2/models/scalar/infer", text(tensor(shape=[], data=[41]))),
    "a missing optional input": ("/v2/models/offset/infer", text(tensor(shape=[1, 2], data=[1, 2]))),
    "texts": (
        "/v2/models/same_BYTES/infer",
        text(tensor(datatype="BYTES", shape=[3], data=["é", "", "\U0001f600\n"])),
    ),
    "large": (GRID, text(tensor(shape=[100, 300], data=[0.5] * 30_000))),
    "more rows than a batch": (GRID, text(tensor(shape=[300, 3], data=list(range(900))))),
    "NaN": (GRID, *with_binary([BINARY], np.full((2, 3), np.nan, "<f4").tobytes())),
    "curl's content-type": (GRID, text(tensor()), {"content_type": "application/x-www-form-urlencoded"}),
    "a content-type with a charset": (GRID, text(tensor()), {"content_type": "application/json; charset=utf-8"}),
    "gzip wanted": (GRID, text(tensor()), {"accept_encoding": "gzip"}),
    "deflate wanted": (GRID, text(tensor()), {"accept_encoding": "deflate"}),
    "gzip wanted of binary": (GRID, *with_binary([BINARY], FLOATS.tobytes(), **BINARY_OUT)),
    "what browsers accept": (GRID, text(tensor()), {"accept_encoding": "gzip, deflate, br"}),
    "FP16 that has no JSON form": (
        "/v2/models/same_FP16/infer",
        *with_binary([tensor(datatype="FP16", shape=[1], parameters={"binary_data_size": 2})], b"\0\0"),
    ),
}
ABOUT_THE_CONNECTION = ("date", "connection")


def ways(path, body, **headers):
    yield "short cut", request(path, body, **headers, x_new="1")
    yield "known head", request(path, body, **headers, x_new="1")
    yield "chunked", chunked(path, body, **headers)
    yield "query", request(path + "?a=1", body, **headers)
    yield "escaped", request(path.replace("infer", "%69nfer"), body, **headers)
    yield "gzip", request(path, gzip.compress(body), content_encoding="gzip", **headers)
    yield "deflate", chunked(path, zlib.compress(body), content_encoding="deflate", **headers)
    yield "HTTP/1.0", request(path, body, version="1.0", **headers)


@pytest.mark.parametrize("case", GOOD)
def test_every_way_has_the_same_answer(server, case):
    path, body, *more = GOOD[case]
    headers = more[0] if more else {}
    answers = {}
    with Connection(server.http_port) as connection:
        for way, data in ways(path, body, **headers):
            connection.send(data)
            answer = connection.answer()
            kept = {name: value for name, value in answer.headers.items() if name not in ABOUT_THE_CONNECTION}
            answers[way] = answer.status, kept, answer.body
        assert connection.closed(), "after HTTP/1.0"
    assert answers["short cut"][0] == (400 if "no JSON form" in case else 200)
    for way, answer in answers.items():
        assert answer == answers["short cut"], way


def test_client_that_expects_100_has_the_same_answer(server):
    for path, body, *more in GOOD.values():
        headers = more[0] if more else {}
        with Connection(server.http_port) as connection:
            connection.send(request(path, body, **headers))
            plain = connection.answer()
            head, _, _ = request(path, body, **headers, expect="100-continue").partition(b"\r\n\r\n")
            connection.send(head + b"\r\n\r\n")
            assert connection.answer().status == 100
            connection.send(body)
            expected = connection.answer()
            assert (expected.status, expected.body) == (plain.status, plain.body)


def test_pipelined_by_any_way_they_keep_their_order(server):
    data, expected = b"", []
    for path, body, *more in GOOD.values():
        headers = more[0] if more else {}
        for _, each in list(ways(path, body, **headers))[:-1]:
            data += each
            expected.append(each)
    with Connection(server.http_port) as connection:
        alone = []
        for each in expected:
            connection.send(each)
            alone.append(connection.answer().body)
        connection.send_while_reading(data)
        for body in alone:
            assert connection.answer().body == body


@pytest.mark.parametrize("way", [request, chunked])
def test_cut_anywhere_on_the_wire_it_is_put_together(server, way):
    path, body = GOOD["a scalar"]
    data = way(path, body)
    with Connection(server.http_port) as connection:
        for cut in range(1, len(data)):
            connection.send(data[:cut])
            connection.send(data[cut:])
            assert connection.answer().document["outputs"][0]["data"] == [42]
