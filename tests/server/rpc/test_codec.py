"""Messages to requests and back: every datatype and shape, and every way to be wrong, by name."""

import contextlib
import math

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tritonclient.grpc import service_pb2 as pb

from headrace.datatypes import Datatype
from headrace.errors import BadRequest, NotSupported
from headrace.models import ModelId
from headrace.requests import InferRequest, InferResponse, RequestedOutput
from server.rpc.codec import decode, encode
from server.rpc.contents import FIELDS

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
TEXT = st.text(max_size=8)


@st.composite
def arrays(draw, kinds=tuple(Datatype)):
    kind = draw(st.sampled_from(kinds))
    shape = draw(SHAPES)
    if kind is Datatype.BYTES:
        texts = draw(st.lists(TEXT, min_size=math.prod(shape), max_size=math.prod(shape)))
        flat = np.empty(len(texts), dtype=object)
        flat[:] = texts
        return kind, flat.reshape(shape)
    if kind is Datatype.BF16:
        return kind, draw(hnp.arrays(np.float32, shape)).astype(kind.numpy)
    return kind, draw(hnp.arrays(kind.numpy, shape))


def raw(array):
    if array.dtype == object:
        return b"".join(len(text.encode()).to_bytes(4, "little") + text.encode() for text in array.ravel())
    return array.tobytes()


def message(*tensors, raws=(), outputs=(), **fields):
    """A ModelInferRequest for model m. A tensor is (name, datatype, shape[, contents])."""
    request = pb.ModelInferRequest(model_name="m", raw_input_contents=raws, **fields)
    for name, datatype, shape, *contents in tensors:
        request.inputs.add(name=name, datatype=datatype, shape=shape)
        if contents:
            request.inputs[-1].contents.CopyFrom(pb.InferTensorContents(**contents[0]))
    for name, parameters in outputs:
        output = request.outputs.add(name=name)
        for key, value in parameters.items():
            output.parameters[key].CopyFrom(value)
    return request


def same(left, right):
    assert left.dtype == right.dtype
    assert left.shape == right.shape
    assert raw(left) == raw(right)


@given(st.lists(arrays(), min_size=1, max_size=3))
def test_raw_tensors_of_every_datatype_and_shape_arrive_as_they_were(tensors):
    request = message(
        *((f"t{at}", kind.wire, array.shape) for at, (kind, array) in enumerate(tensors)),
        raws=[raw(array) for _, array in tensors],
    )
    decoded = decode(pb.ModelInferRequest.FromString(request.SerializeToString()))
    assert list(decoded.inputs) == [f"t{at}" for at in range(len(tensors))]
    for found, (_, sent) in zip(decoded.inputs.values(), tensors, strict=True):
        same(found, sent)


@given(arrays(tuple(FIELDS)))
def test_typed_contents_of_every_datatype_and_shape_arrive_as_they_were(tensor):
    kind, array = tensor
    values = [each.encode() for each in array.ravel()] if kind is Datatype.BYTES else array.ravel().tolist()
    request = message(("t", kind.wire, array.shape, {FIELDS[kind]: values}))
    same(decode(request).inputs["t"], array)


@given(st.lists(arrays(), max_size=3))
def test_responses_carry_every_datatype_and_shape_raw(tensors):
    response = InferResponse(ModelId("m", 7), "an id", {f"t{at}": array for at, (_, array) in enumerate(tensors)})
    answer = encode(response)
    assert (answer.model_name, answer.model_version, answer.id) == ("m", "7", "an id")
    for output, data, (kind, array) in zip(answer.outputs, answer.raw_output_contents, tensors, strict=True):
        assert (output.datatype, tuple(output.shape), data) == (kind.wire, array.shape, raw(array))
        assert not output.HasField("contents")


@given(st.lists(arrays(), min_size=1, max_size=2))
def test_what_is_encoded_can_be_decoded(tensors):
    answer = encode(InferResponse(ModelId("m", 7), "", {f"t{at}": array for at, (_, array) in enumerate(tensors)}))
    request = message(
        *((output.name, output.datatype, output.shape) for output in answer.outputs), raws=answer.raw_output_contents
    )
    for found, (_, sent) in zip(decode(request).inputs.values(), tensors, strict=True):
        same(found, sent)


def test_raw_tensors_are_views_on_the_message():
    array = decode(message(("x", "FP32", [2]), raws=[b"\0" * 8])).inputs["x"]
    assert not array.flags.owndata
    assert not array.flags.writeable


def test_everything_else_of_a_request_arrives():
    request = message(
        ("x", "FP32", [0]),
        raws=[b""],
        outputs=[("y", {"classification": pb.InferParameter(int64_param=3)}), ("z", {})],
        id="42",
        model_version="2",
        parameters={
            "timeout": pb.InferParameter(uint64_param=1500),
            "priority": pb.InferParameter(uint64_param=1),
            "flag": pb.InferParameter(bool_param=False),
            "text": pb.InferParameter(string_param=""),
            "real": pb.InferParameter(double_param=0.5),
        },
    )
    decoded = decode(request)
    assert decoded == InferRequest(
        "m",
        "2",
        decoded.inputs,
        "42",
        {"timeout": 1500, "priority": 1, "flag": False, "text": "", "real": 0.5},
        [RequestedOutput("y", classification=3), RequestedOutput("z")],
        timeout_us=1500,
        priority=1,
    )


def test_parameters_of_a_response_keep_their_kinds():
    parameters = {"b": True, "i": -1, "u": 2**63, "f": 0.5, "s": "text"}
    found = encode(InferResponse(ModelId("m", 1), "", {}, parameters)).parameters
    kinds = {name: found[name].WhichOneof("parameter_choice") for name in found}
    assert kinds == {
        "b": "bool_param",
        "i": "int64_param",
        "u": "uint64_param",
        "f": "double_param",
        "s": "string_param",
    }
    assert {name: getattr(found[name], kind) for name, kind in kinds.items()} == parameters


def test_empty_contents_beside_raw_ones_are_no_contradiction():
    assert decode(message(("x", "FP32", [1], {}), raws=[b"\0" * 4])).inputs["x"].shape == (1,)


MALFORMED = [
    # (what the sentence must hold, message)
    (["'x'", "300", "INT8", "-128 to 127"], message(("x", "INT8", [1], {"int_contents": [300]}))),
    (["'x'", "-129", "INT8"], message(("x", "INT8", [1], {"int_contents": [-129]}))),
    (["element 1 ", "'x'", "40000", "INT16"], message(("x", "INT16", [2], {"int_contents": [0, 40000]}))),
    (["'x'", "256", "UINT8", "0 to 255"], message(("x", "UINT8", [1], {"uint_contents": [256]}))),
    (["'x'", "65536", "UINT16"], message(("x", "UINT16", [1], {"uint_contents": [65536]}))),
    (["'x'", "FP16", "raw_input_contents"], message(("x", "FP16", [1], {"fp32_contents": [1]}))),
    (["'x'", "BF16", "raw_input_contents"], message(("x", "BF16", [1], {"fp32_contents": [1]}))),
    (["'x'", "fp32_contents", "int_contents"], message(("x", "FP32", [1], {"int_contents": [1]}))),
    (
        ["'x'", "fp32_contents", "fp64_contents"],
        message(("x", "FP32", [1], {"fp32_contents": [1], "fp64_contents": [1]})),
    ),
    (["'x'", "[2, 3]", "6 values", "has 5"], message(("x", "FP32", [2, 3], {"fp32_contents": [0] * 5}))),
    (["'x'", "1 values", "has 0"], message(("x", "FP32", []))),
    (["'x'", "has 1"], message(("x", "FP32", [0], {"fp32_contents": [1]}))),
    (["element 1 ", "'x'", "UTF-8"], message(("x", "BYTES", [2], {"bytes_contents": [b"ok", b"\xff"]}))),
    (["'x'", "[2]", "8 bytes", "has 7"], message(("x", "FP32", [2]), raws=[b"\0" * 7])),
    (["'x'", "0 bytes", "has 4"], message(("x", "FP32", [0]), raws=[b"\0" * 4])),
    (["'x'", "4 bytes", "has 0"], message(("x", "FP32", []), raws=[b""])),
    (["'x'", "BOOL", "0 or 1", "found 2"], message(("x", "BOOL", [2]), raws=[b"\1\2"])),
    (["'x'", "1 strings", "0 bytes"], message(("x", "BYTES", [1]), raws=[b""])),
    (["string 0 ", "'x'", "9 bytes", "only 2"], message(("x", "BYTES", [1]), raws=[b"\x09\0\0\0ab"])),
    (["string 0 ", "'x'", "4294967295"], message(("x", "BYTES", [1]), raws=[b"\xff\xff\xff\xff"])),
    (["'x'", "string 1 of 2"], message(("x", "BYTES", [2]), raws=[b"\x04\0\0\0abcd\0"])),
    (["'x'", "1 strings in 5 bytes", "has 6"], message(("x", "BYTES", [1]), raws=[b"\x01\0\0\0ab"])),
    (["element 1 ", "'x'", "UTF-8"], message(("x", "BYTES", [2]), raws=[b"\x01\0\0\0a\x01\0\0\0\xff"])),
    (["'x'", "-1"], message(("x", "FP32", [-1]), raws=[b"\0" * 4])),
    (["'x'", "-2"], message(("x", "FP32", [-2, -2], {"fp32_contents": [0] * 4}))),
    (["'x'", str(2**66)], message(("x", "FP32", [2**32, 2**32]), raws=[b""])),
    (["'x'", str(2**64)], message(("x", "BYTES", [2**32, 2**32]), raws=[b""])),
    (["'x'", str(2**64)], message(("x", "FP32", [2**32, 2**32], {"fp32_contents": []}))),
    (["'x'", str(2**62)], message(("x", "FP32", [0, 2**62, 2**62]), raws=[b""])),
    (["'x'", str(2**62)], message(("x", "FP32", [0, 2**62, 2**62]))),
    (["'x'", "33", "32"], message(("x", "FP32", [1] * 33), raws=[b"\0" * 4])),
    (["'x'", "'FLOAT'", "FP32", "BYTES"], message(("x", "FLOAT", [1]), raws=[b"\0" * 4])),
    (["'x'", "''", "FP32"], message(("x", "", [1]), raws=[b"\0" * 4])),
    (["'x'", "twice"], message(("x", "FP32", [0]), ("x", "FP32", [0]))),
    (["'x'", "raw_input_contents"], message(("x", "FP32", [1], {"fp32_contents": [1]}), raws=[b"\0" * 4])),
    (["2 inputs", "1 raw"], message(("x", "FP32", [1]), ("y", "FP32", [1], {"fp32_contents": [1]}), raws=[b"\0" * 4])),
    (["1 inputs", "2 raw"], message(("x", "FP32", [1]), raws=[b"\0" * 4, b""])),
    (["0 inputs", "1 raw"], message(raws=[b""])),
    (["'priority'", "-1"], message(parameters={"priority": pb.InferParameter(int64_param=-1)})),
    (["'timeout'", "-1"], message(parameters={"timeout": pb.InferParameter(int64_param=-1)})),
    (["'timeout'", "'1'"], message(parameters={"timeout": pb.InferParameter(string_param="1")})),
    (["'timeout'", "True"], message(parameters={"timeout": pb.InferParameter(bool_param=True)})),
    (["'timeout'", str(2**63)], message(parameters={"timeout": pb.InferParameter(uint64_param=2**63)})),
    (["'p'", "no value"], message(parameters={"p": pb.InferParameter()})),
    (
        ["output 'y'", "'classification'", "-1"],
        message(outputs=[("y", {"classification": pb.InferParameter(int64_param=-1)})]),
    ),
]


@pytest.mark.parametrize(("words", "bad"), MALFORMED, ids=[" ".join(words) for words, _ in MALFORMED])
def test_malformed_requests_are_refused_by_name(words, bad):
    with pytest.raises(BadRequest) as refusal:
        decode(bad)
    for word in words:
        assert word in str(refusal.value)


def test_shared_memory_is_refused_by_name():
    request = message(("x", "FP32", [1]))
    request.inputs[0].parameters["shared_memory_region"].string_param = "region"
    with pytest.raises(NotSupported, match="input 'x' is in shared memory"):
        decode(request)
    request = message(outputs=[("y", {"shared_memory_region": pb.InferParameter(string_param="region")})])
    with pytest.raises(NotSupported, match="output 'y' is in shared memory"):
        decode(request)


@given(st.binary(max_size=200))
def test_random_bytes_never_do_more_than_be_refused(data):
    try:
        request = pb.ModelInferRequest.FromString(data)
    except DecodeError:
        return
    with contextlib.suppress(BadRequest, NotSupported):
        decode(request)
