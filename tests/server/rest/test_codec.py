"""Bodies of infer requests and answers: JSON, binary, both in one, and whatever else somebody may send."""

import json

import numpy as np
import pytest
from arrays import WITHOUT_JSON, arrays_of, same
from hypothesis import given
from hypothesis import strategies as st

from headrace.datatypes import BY_NUMPY, Datatype
from headrace.errors import BadRequest, ServingError
from headrace.models import ModelId, ModelMetadata, TensorSpec
from headrace.requests import InferRequest, InferResponse, RequestedOutput
from server.rest.codec import decode, decode_raw, encode
from server.wire import from_raw, to_raw

ID = ModelId("m", 3)


def by_name(datatype):
    return datatype.value


def body_of(inputs, binary=(), **fields):
    """(body, header length) of a request for the arrays `inputs`, those in `binary` as raw bytes."""
    items, tail = [], b""
    for name, array in inputs.items():
        item = {"name": name, "datatype": BY_NUMPY[array.dtype].value, "shape": array.shape}
        if name in binary:
            data = to_raw(array)
            item["parameters"] = {"binary_data_size": len(data)}
            tail += data
        else:
            item["data"] = array.ravel().tolist()
        items.append(item)
    head = json.dumps({"inputs": items} | fields).encode()
    return head + tail, len(head) if binary else None


def read(*inputs, header_length=None, tail=b"", **fields):
    return decode("m", "", json.dumps({"inputs": inputs} | fields).encode() + tail, header_length)


def tensor(name="x", datatype="FP32", shape=(1,), **more):
    return {"name": name, "datatype": datatype, "shape": list(shape)} | more


def written(response, request):
    """What a client reads of the answer: the document, and output name -> array."""
    body, header_length = encode(response, request)
    head, tail = (body, b"") if header_length is None else (body[:header_length], body[header_length:])
    document = json.loads(head)
    arrays = {}
    for output in document["outputs"]:
        datatype = Datatype(output["datatype"])
        size = output.get("parameters", {}).get("binary_data_size")
        if size is None:
            array = np.array([*output["data"], None], object)[:-1] if datatype is Datatype.BYTES else output["data"]
            arrays[output["name"]] = np.array(array, datatype.numpy).reshape(output["shape"])
        else:
            arrays[output["name"]] = from_raw("y", datatype, output["shape"], tail[:size])
            tail = tail[size:]
    assert tail == b""
    return document, arrays


# -- requests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("datatype", list(Datatype), ids=by_name)
def test_what_a_client_sends_is_what_the_model_gets(datatype):
    @given(arrays_of(datatype, finite=True), st.booleans(), st.booleans())
    def check(array, binary, other_binary):
        beside = np.array([[1.5]], np.float64)
        names = {"x"} if binary or datatype in WITHOUT_JSON else set()
        if other_binary:
            names.add("other")
        body, header_length = body_of({"x": array, "other": beside}, names)
        request = decode("m", "1", body, header_length)
        assert list(request.inputs) == ["x", "other"]
        assert same(request.inputs["x"], array)
        assert same(request.inputs["other"], beside)

    check()


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=6,
)
_TENSORS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["x", "y", ""]) | _VALUES,
        "datatype": st.sampled_from([datatype.value for datatype in Datatype]) | _VALUES,
        "shape": st.lists(st.integers(0, 3), max_size=3) | _VALUES,
    },
    optional={
        "data": st.lists(st.integers(0, 1), max_size=4) | _VALUES,
        "parameters": st.fixed_dictionaries({}, optional={"binary_data_size": st.integers(-1, 20)}) | _VALUES,
    },
)
_MESSAGES = st.fixed_dictionaries(
    {"inputs": st.lists(_TENSORS, max_size=3) | _VALUES},
    optional={
        "id": st.text(max_size=3) | _VALUES,
        "parameters": st.fixed_dictionaries(
            {}, optional={"timeout": _VALUES, "binary_data_output": _VALUES, "priority": _VALUES}
        ),
        "outputs": st.lists(
            st.fixed_dictionaries(
                {"name": st.text(max_size=2)},
                optional={"parameters": st.fixed_dictionaries({}, optional={"binary_data": _VALUES})},
            ),
            max_size=2,
        )
        | _VALUES,
    },
)


@given(_MESSAGES | _VALUES, st.binary(max_size=20), st.none() | st.integers(0, 300), st.booleans())
def test_any_document_is_a_request_or_a_serving_error(message, tail, header_length, honest):
    head = json.dumps(message).encode()
    _is_a_request_or_an_error(head + tail, len(head) if honest else header_length)


@given(st.binary(max_size=300), st.none() | st.integers(0, 10**18))
def test_any_bytes_are_a_request_or_a_serving_error(body, header_length):
    _is_a_request_or_an_error(body, header_length)


_GOOD, _GOOD_LENGTH = body_of({"x": np.ones((1, 2), np.float32), "s": np.array(["é"], object)}, {"x", "s"}, id="7")


@given(st.lists(st.tuples(st.integers(0, len(_GOOD) - 1), st.integers(0, 255)), max_size=4), st.integers(0, len(_GOOD)))
def test_any_damage_to_a_good_body_is_a_request_or_a_serving_error(changes, cut):
    damaged = bytearray(_GOOD)
    for at, value in changes:
        damaged[at] = value
    _is_a_request_or_an_error(bytes(damaged), _GOOD_LENGTH)
    _is_a_request_or_an_error(bytes(damaged[:cut]), _GOOD_LENGTH)
    _is_a_request_or_an_error(bytes(damaged[:cut]), None)


def _is_a_request_or_an_error(body, header_length):
    try:
        request = decode("m", "", body, header_length)
    except ServingError as error:
        json.dumps({"error": str(error)}).encode()
    else:
        assert all(array.dtype in BY_NUMPY for array in request.inputs.values())


def test_request_carries_id_parameters_and_wishes():
    request = read(
        tensor(data=[1]),
        id="é",
        parameters={"priority": 1, "timeout": 5, "binary_data_output": True, "mine": "x"},
        outputs=[{"name": "a"}, {"name": "b", "parameters": {"binary_data": False, "classification": 3}}],
    )
    assert request == InferRequest(
        "m",
        "",
        request.inputs,
        id="é",
        parameters={"priority": 1, "timeout": 5, "binary_data_output": True, "mine": "x"},
        outputs=[RequestedOutput("a"), RequestedOutput("b", binary=False, classification=3)],
        binary_output=True,
        timeout_us=5,
        priority=1,
    )


@pytest.mark.parametrize("outputs", [{}, {"outputs": []}])
def test_request_without_outputs_wants_all(outputs):
    assert read(tensor(data=[1]), **outputs).outputs is None


def test_unknown_keys_are_passed_over():
    request = read(tensor(data=[1], colour="red"), model_name="other", unknown={"a": [1]})
    assert list(request.inputs) == ["x"]
    assert request.model == "m"


def test_binary_array_is_a_view_on_the_body():
    body, header_length = body_of({"x": np.ones(8, np.uint8)}, {"x"})
    array = decode("m", "", body, header_length).inputs["x"]
    assert np.shares_memory(array, np.frombuffer(body, np.uint8))


@pytest.mark.parametrize(
    ("inputs", "header", "tail", "sentence"),
    [
        ([tensor()], False, b"", r"input 'x' has neither data nor parameters.binary_data_size"),
        ([tensor(data=[1])] * 2, False, b"", r"input 'x' is given twice"),
        ([tensor(datatype="FP31", data=[1])], False, b"", r"tensor 'x' has unknown datatype 'FP31'; known are BOOL"),
        ([tensor(datatype="x" * 99, data=[1])], False, b"", r"unknown datatype 'x{40}';"),
        (
            [tensor(data=[1], parameters={"binary_data_size": 4})],
            True,
            bytes(4),
            r"input 'x' has both data and parameters.binary_data_size",
        ),
        (
            [tensor(parameters={"binary_data_size": 4})],
            True,
            bytes(3),
            r"input 'x' has binary_data_size 4, but 3 bytes of binary data are left",
        ),
        (
            [tensor(parameters={"binary_data_size": 4}), tensor("y", parameters={"binary_data_size": 4})],
            True,
            bytes(7),
            r"input 'y' has binary_data_size 4, but 3 bytes",
        ),
        ([tensor(parameters={"binary_data_size": 4})], True, bytes(5), r"5 bytes follow the JSON part, .* add up to 4"),
        ([tensor(parameters={"binary_data_size": 3})], True, bytes(3), r"'x' of datatype FP32 .* takes 4 bytes"),
        ([tensor(data=[1])], True, bytes(3), r"3 bytes follow the JSON part, the inputs' binary_data_size add up to 0"),
        (
            [tensor(parameters={"binary_data_size": 4})],
            False,
            b"",
            r"input 'x' has binary_data_size 4, but 0 bytes of binary data are left",
        ),
        *(
            (
                [tensor(parameters={"binary_data_size": size})],
                True,
                bytes(4),
                r"binary_data_size of input 'x' is a whole number of 0 or more, found",
            )
            for size in (-4, 4.0, "4", True, [4], 2**70)
        ),
        ([tensor(shape=[2], parameters={"binary_data_size": 4})], True, bytes(4), r"takes 8 bytes, the request has 4"),
    ],
)
def test_binary_part_that_lies_is_refused_with_both_numbers(inputs, header, tail, sentence):
    length = len(json.dumps({"inputs": inputs})) if header else None
    with pytest.raises(BadRequest, match=sentence):
        read(*inputs, header_length=length, tail=tail)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"parameters": {"timeout": -1}}, r"parameter timeout is a whole number of 0 or more, found -1"),
        ({"parameters": {"timeout": 1.5}}, r"parameter timeout .* found 1.5"),
        ({"parameters": {"timeout": True}}, r"parameter timeout .* found True"),
        ({"parameters": {"timeout": 2**64}}, r"parameter timeout"),
        ({"parameters": {"priority": -1}}, r"parameter priority is a whole number of 0 or more, found -1"),
        ({"parameters": {"priority": "1"}}, r"parameter priority .* found '1'"),
        ({"parameters": {"binary_data_output": 1}}, r"parameter binary_data_output is true or false, found 1"),
        (
            {"outputs": [{"name": "y", "parameters": {"binary_data": "yes"}}]},
            r"parameter binary_data of output 'y' is true or false, found 'yes'",
        ),
        (
            {"outputs": [{"name": "y", "parameters": {"classification": -1}}]},
            r"parameter classification of output 'y' is a whole number of 0 or more, found -1",
        ),
        ({"outputs": [{"name": "y", "parameters": {"classification": "3"}}]}, r"classification of output 'y'"),
        ({"outputs": [{}]}, r"missing required field `name` - at `\$.outputs\[0\]`"),
        ({"outputs": "y"}, r"Expected `array`, got `str` - at `\$.outputs`"),
        ({"id": 5}, r"Expected `str`, got `int` - at `\$.id`"),
        ({"inputs": {}}, r"Expected `array`, got `object` - at `\$.inputs`"),
        ({"inputs": [1]}, r"Expected `object`, got `int` - at `\$.inputs\[0\]`"),
        ({"inputs": [tensor(shape=[1.0], data=[1])]}, r"Expected `int`, got `float` - at `\$.inputs\[0\].shape\[0\]`"),
        ({"inputs": [tensor(shape=[True], data=[1])]}, r"got `bool` - at `\$.inputs\[0\].shape\[0\]`"),
        ({"inputs": [tensor(shape=["1"], data=[1])]}, r"got `str`"),
        ({"inputs": [tensor(shape=[None], data=[1])]}, r"got `null`"),
        ({"inputs": [tensor(name=None, data=[1])]}, r"Expected `str`, got `null` - at `\$.inputs\[0\].name`"),
        ({"inputs": [{"name": "x", "shape": [1], "data": [1]}]}, r"missing required field `datatype`"),
    ],
)
def test_field_of_another_kind_is_refused_by_its_place(fields, sentence):
    with pytest.raises(BadRequest, match=sentence):
        decode("m", "", json.dumps({"inputs": [tensor(data=[1])]} | fields).encode())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'{"inputs":[]}{}',
        b'\xef\xbb\xbf{"inputs":[]}',
        '{"inputs":[]}'.encode("utf-16"),
        b'{"inputs":[],"id":"\xff"}',
        b'{"inputs":[],"id":"\\ud800"}',
        b'{"inputs":[],"parameters":{"timeout":1e999}}',
        b'{"inputs":[{"name":"x","datatype":"FP32","shape":[' + b"9" * 5000 + b'],"data":[1]}]}',
        b'{"inputs":[{"name":"x","datatype":"INT64","shape":[1],"data":[' + b"9" * 5000 + b"]}]}",
    ],
)
def test_what_is_no_v2_document_is_a_bad_request(body):
    with pytest.raises(BadRequest):
        decode("m", "", body)


@pytest.mark.parametrize("depth", [50_000, 10_000_000])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b""),
        (b'{"inputs":', b"}"),
        (b'{"inputs":[],"outputs":', b"}"),
        (b'{"inputs":[],"parameters":{"a":', b"}}"),
        (b'{"inputs":[],"unknown":', b"}"),
        (b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":', b"}]}"),
        (b'{"inputs":[{"name":"x","datatype":"INT8","shape":[1],"data":', b"}]}"),
        (b'{"inputs":[{"name":"x","datatype":"FP32","shape":', b"}]}"),
    ],
)
def test_document_nested_without_end_is_a_bad_request(before, after, depth):
    with pytest.raises(BadRequest):
        decode("m", "", before + b"[" * depth + b"]" * depth + after)


@pytest.mark.parametrize("length", [14, 10**17])
def test_header_length_beyond_the_body_is_refused_with_both(length):
    with pytest.raises(
        BadRequest, match=f"Inference-Header-Content-Length is {length}, but the whole body has 13 bytes"
    ):
        decode("m", "", b'{"inputs":[]}', length)


# -- the whole body as one tensor -------------------------------------------------------------------------------------


def raw(body, datatype=Datatype.FP32, shape=(-1, 2), count=1):
    inputs = tuple(TensorSpec(f"x{index}", datatype, shape) for index in range(count))
    return decode_raw("m", "", body, ModelMetadata(ID, "", inputs, (), batchable=shape[:1] == (-1,)))


@pytest.mark.parametrize(
    ("datatype", "shape", "body", "expected"),
    [
        (Datatype.FP32, (-1, 2), np.array([1, 2], "<f4").tobytes(), [[1, 2]]),
        (Datatype.UINT8, (-1, -1), b"abc", [[97, 98, 99]]),
        (Datatype.UINT8, (-1, -1, 2), b"abcd", [[[97, 98], [99, 100]]]),
        (Datatype.UINT8, (-1,), b"a", [97]),
        (Datatype.UINT8, (3,), b"abc", [97, 98, 99]),
        (Datatype.INT64, (), (7).to_bytes(8, "little"), 7),
        (Datatype.BYTES, (-1, 1), "é".encode(), [["é"]]),
        (Datatype.BYTES, (-1, -1), b"", [[""]]),
        (Datatype.UINT8, (-1, 0), b"", [[]]),
    ],
)
def test_whole_body_is_the_models_one_input(datatype, shape, body, expected):
    request = raw(body, datatype, shape)
    assert request.inputs["x0"].tolist() == expected
    assert request.binary_output


@pytest.mark.parametrize(
    ("body", "model", "sentence"),
    [
        (bytes(8), {"count": 2}, r"needs a model with one input, 'm' has 2"),
        (bytes(8), {"count": 0}, r"has 0"),
        (bytes(7), {}, r"'x0' of datatype FP32 and shape \[1, 2\] takes 8 bytes, the request has 7"),
        (b"", {}, r"takes 8 bytes, the request has 0"),
        (bytes(6), {"shape": (-1, -1)}, r"shape \[1, 1\] takes 4 bytes, the request has 6"),
        (bytes(8), {"shape": (-1, -1, -1)}, r"'x0' has more than one free dimension"),
        (b"a", {"datatype": Datatype.BYTES}, r"one string, input 'x0' has shape \[-1, 2\]"),
        (b"\xff", {"datatype": Datatype.BYTES, "shape": (-1, 1)}, r"'x0' is not UTF-8"),
        (b"abc", {"shape": (-1, 0, -1)}, r"'x0' .* takes 0 bytes, the request has 3"),
    ],
)
def test_whole_body_that_is_not_the_models_input_is_refused(body, model, sentence):
    with pytest.raises(BadRequest, match=sentence):
        raw(body, **model)


@given(
    st.binary(max_size=64),
    st.sampled_from(list(Datatype)),
    st.lists(st.integers(0, 3) | st.just(-1), max_size=4).map(tuple),
)
def test_any_whole_body_is_a_request_or_a_bad_request(body, datatype, shape):
    try:
        request = raw(body, datatype, shape)
    except BadRequest:
        return
    assert request.inputs["x0"].dtype == datatype.numpy


# -- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("datatype", list(Datatype), ids=by_name)
def test_what_the_model_gives_is_what_a_client_reads(datatype):
    @given(arrays_of(datatype, finite=True), st.booleans())
    def check(array, binary):
        binary = binary or datatype in WITHOUT_JSON
        response = InferResponse(ID, "7", {"y": array, "other": np.array([1.5])})
        document, arrays = written(response, InferRequest("m", "", {}, binary_output=binary))
        assert (document["model_name"], document["model_version"], document["id"]) == ("m", "3", "7")
        assert list(arrays) == ["y", "other"]
        assert same(arrays["y"], array)
        assert same(arrays["other"], np.array([1.5]))

    check()


@pytest.mark.parametrize(
    ("for_all", "for_one", "binary"),
    [(False, None, False), (True, None, True), (True, False, False), (False, True, True), (True, True, True)],
)
def test_wish_for_one_output_beats_the_wish_for_all(for_all, for_one, binary):
    response = InferResponse(ID, "", {"a": np.zeros(2, np.float32), "b": np.zeros(2, np.float32)})
    wishes = [RequestedOutput("a", binary=for_one), RequestedOutput("b")]
    document, _ = written(response, InferRequest("m", "", {}, outputs=wishes, binary_output=for_all))
    first, second = document["outputs"]
    assert ("data" not in first) == binary
    assert ("data" not in second) == for_all


def test_answer_without_id_and_parameters_has_neither():
    document, _ = written(InferResponse(ID, "", {}), InferRequest("m", "", {}))
    assert document == {"model_name": "m", "model_version": "3", "outputs": []}


def test_answer_carries_its_parameters_and_any_id():
    document, _ = written(InferResponse(ID, 'é"\n', {}, {"a": 1}), InferRequest("m", "", {}))
    assert (document["id"], document["parameters"]) == ('é"\n', {"a": 1})


def test_output_without_a_json_form_is_refused_unless_asked_for_in_binary():
    response = InferResponse(ID, "", {"y": np.zeros(2, np.float16)})
    with pytest.raises(BadRequest, match=r"output 'y' is FP16, which has no JSON form"):
        encode(response, InferRequest("m", "", {}))
    wish = RequestedOutput("y", binary=True)
    assert written(response, InferRequest("m", "", {}, outputs=[wish]))[1]["y"].tolist() == [0, 0]
