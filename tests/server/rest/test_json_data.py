"""JSON numbers and texts <-> arrays: nothing is rounded, wrapped or guessed."""

import json
import math
import re

import msgspec
import numpy as np
import pytest
from arrays import WITHOUT_JSON, arrays_of, same
from hypothesis import given
from hypothesis import strategies as st

from headrace.datatypes import Datatype
from headrace.errors import BadRequest
from server.rest.json_data import from_json, to_json

WITH_JSON = [datatype for datatype in Datatype if datatype not in WITHOUT_JSON]
INTEGERS = [datatype for datatype in WITH_JSON if "INT" in datatype.value]


def read(datatype, shape, text):
    return from_json("x", datatype, shape, msgspec.Raw(text if isinstance(text, bytes) else json.dumps(text).encode()))


def by_name(datatype):
    return datatype.value


@pytest.mark.parametrize("datatype", WITH_JSON, ids=by_name)
def test_every_array_comes_back_from_its_text_flat_or_nested(datatype):
    @given(arrays_of(datatype, finite=True))
    def check(array):
        text = to_json("y", array)
        assert same(read(datatype, list(array.shape), text), array)
        assert same(from_json("x", datatype, list(array.shape), json.loads(text)), array)
        if array.ndim and 0 not in array.shape:
            assert same(read(datatype, list(array.shape), array.tolist()), array)

    check()


@pytest.mark.parametrize("datatype", WITH_JSON, ids=by_name)
def test_any_text_and_any_shape_are_a_tensor_or_a_bad_request(datatype):
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    )
    texts = values.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=20)

    @given(st.lists(st.integers(-2, 3) | st.integers(), max_size=4), texts)
    def check(shape, text):
        try:
            array = read(datatype, shape, text)
        except BadRequest:
            return
        assert array.shape == tuple(shape)
        assert array.dtype == datatype.numpy

    check()


@pytest.mark.parametrize("datatype", INTEGERS, ids=by_name)
def test_whole_range_of_an_integer_passes_and_one_more_does_not(datatype):
    low, high = int(np.iinfo(datatype.numpy).min), int(np.iinfo(datatype.numpy).max)
    assert read(datatype, [2], [low, high]).tolist() == [low, high]
    for value in (low - 1, high + 1, 2**70, -(2**70)):
        with pytest.raises(BadRequest) as refusal:
            read(datatype, [2], [0, value])
        assert "'x'" in str(refusal.value)
        assert datatype.value in str(refusal.value)


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        *((datatype, value) for datatype in INTEGERS for value in (1.5, True, "1", None, {}, 1e3)),
        *((Datatype.FP32, value) for value in (True, "1", None, {}, "NaN")),
        *((Datatype.FP64, value) for value in (False, "", None)),
        *((Datatype.BOOL, value) for value in (0, 1, 1.0, "true", None)),
        *((Datatype.BYTES, value) for value in (1, True, None, {"b64": "YQ=="})),
    ],
)
def test_value_of_another_kind_is_refused(datatype, value):
    with pytest.raises(BadRequest, match=rf"data of tensor 'x' \({datatype.value}\): Expected"):
        read(datatype, [1], [value])


def test_whole_numbers_are_floats_too():
    assert read(Datatype.FP32, [3], [1, -2, 2**24]).tolist() == [1, -2, 2**24]
    assert read(Datatype.FP64, [1], [2**60]).tolist() == [2**60]


@pytest.mark.parametrize(
    ("datatype", "text", "sentence"),
    [
        (
            Datatype.FP32,
            b"[1e39]",
            r"value 1e\+39 at position 0 of tensor 'x' is outside FP32: -3.4.*e\+38 to 3.4.*e\+38",
        ),
        (Datatype.FP32, b"[0,-1e39]", r"value -1e\+39 at position 1"),
        (Datatype.FP64, b"[1e400]", r"'x' \(FP64\): .*out of range"),
        (Datatype.INT8, b"[1,300]", r"value 300 at position 1 of tensor 'x' is outside INT8: -128 to 127"),
        (Datatype.UINT8, b"[-1]", r"value -1 at position 0 of tensor 'x' is outside UINT8: 0 to 255"),
        (Datatype.FP32, b"[NaN]", r"'x' \(FP32\)"),
        (Datatype.FP32, b"[Infinity]", r"'x' \(FP32\)"),
        (Datatype.FP32, b"1", r"'x' \(FP32\): Expected `array`, got `int`"),
        (Datatype.BYTES, b'["\xff"]', r"'x' \(BYTES\)"),
        (Datatype.BYTES, b'["\\ud800"]', r"'x' \(BYTES\)"),
        (Datatype.FP16, b"[1]", r"'x' is FP16, which has no JSON form: send it as binary data"),
        (Datatype.BF16, b"[1]", r"'x' is BF16, which has no JSON form"),
    ],
)
def test_value_that_does_not_fit_is_named(datatype, text, sentence):
    shape = [text.count(b",") + 1]
    with pytest.raises(BadRequest, match=sentence):
        read(datatype, shape, text)


@pytest.mark.parametrize(
    ("shape", "data", "sentence"),
    [
        ([2], [1], r"'x' of shape \[2\] takes 2 values, the request has 1"),
        ([2], [1, 2, 3], r"takes 2 values, the request has 3"),
        ([], [], r"'x' of shape \[\] takes 1 values, the request has 0"),
        ([0], [1], r"takes 0 values, the request has 1"),
        ([1, 2**31], [1, 2], r"takes 2147483648 values, the request has 2"),
        ([2**32, 2**32], [1, 2], r"takes 18446744073709551616 values, the request has 2"),
        ([-1, -2], [1, 2], r"'x' has dimension -1 in its shape"),
        ([1] * 10_000, [1], r"'x' has 10000 dimensions, at most 32 are possible"),
        ([0, 2**62, 2**62], [], r"'x' cannot have shape \[0, 4611686018427387904, 4611686018427387904\]"),
        ([2, 2], [[1, 2], [3]], r"shape \[2, 2\]: on axis 1 expected a list of 2, found a list of 1"),
        ([2, 2], [[1, 2], 3], r"on axis 1 expected a list of 2, found a single value"),
        ([2, 2], [1, [2, 3]], r"'x' (mixes lists and values|of shape \[2, 2\] takes 4 values, the request has 2)"),
        ([2], [1, [2]], r"'x' mixes lists and values"),
        ([1, 2], [[1, 2], [3, 4]], r"does not have the shape \[1, 2\]: axis 0 differs"),
        ([2], [[1], [2]], r"nested deeper than its shape \[2\]"),
        ([4], [[1, 2], [3, 4]], r"axis 0 differs"),
        ([], [[1]], r"nested deeper|takes 1 values"),
        ([2, 1, 2], [[1, 2], [3, 4]], r"on axis 1 expected a list of 1, found a list of 2"),
        ([2, 2, 1], [[1, 2], [3, 4]], r"on axis 2 expected a list of 1, found a single value"),
    ],
)
@pytest.mark.parametrize("datatype", WITH_JSON, ids=by_name)
def test_data_that_is_not_of_the_shape_is_refused_with_both(datatype, shape, data, sentence):
    value = {Datatype.BYTES: '"a"', Datatype.BOOL: "true"}.get(datatype, "1")
    with pytest.raises(BadRequest, match=sentence):
        read(datatype, shape, re.sub(r"\d", value, json.dumps(data)).encode())


@pytest.mark.parametrize("depth", [50, 50_000])
@pytest.mark.parametrize("datatype", [Datatype.FP32, Datatype.BYTES], ids=by_name)
def test_nesting_without_end_is_a_bad_request(datatype, depth):
    with pytest.raises(BadRequest):
        read(datatype, [1], b"[" * depth + b"1" + b"]" * depth)


@pytest.mark.parametrize(
    ("shape", "data"),
    [([], [7]), ([1, 1], [7]), ([1, 1], [[7]]), ([0], []), ([2, 0], []), ([0, 3], []), ([2, 0], [[], []])],
)
def test_scalars_and_empty_tensors_have_their_shape(shape, data):
    array = read(Datatype.INT64, shape, data)
    assert array.shape == tuple(shape)
    assert array.ravel().tolist() == [7] * math.prod(shape)


def test_empty_nested_data_of_another_shape_is_refused():
    with pytest.raises(BadRequest):
        read(Datatype.FP32, [1, 1], [[]])


def test_flat_data_may_have_the_largest_rank():
    assert read(Datatype.FP32, [1] * 32, [1]).ndim == 32


def test_numbers_that_are_not_finite_are_written_as_tokens():
    array = np.array([[np.nan, 1.5], [np.inf, -np.inf]], np.float32)
    assert to_json("y", array) == b"[NaN,1.5,Infinity,-Infinity]"
    assert to_json("y", array.T) == b"[NaN,Infinity,1.5,-Infinity]"


def test_word_null_in_a_text_is_no_number():
    assert json.loads(to_json("y", np.array(["null", 'a"b', "é\n"], object))) == ["null", 'a"b', "é\n"]


def test_array_of_any_layout_is_written_row_by_row():
    array = np.arange(6, dtype=np.int32).reshape(2, 3)
    assert to_json("y", array.T) == b"[0,3,1,4,2,5]"
    assert to_json("y", array[:, ::2]) == b"[0,2,3,5]"
    assert to_json("y", np.array(5, np.int32)) == b"[5]"


@pytest.mark.parametrize("datatype", WITHOUT_JSON, ids=by_name)
def test_output_without_a_json_form_is_refused_with_the_way_out(datatype):
    with pytest.raises(BadRequest, match=rf'output \'y\' is {datatype.value}, .*"binary_data": true'):
        to_json("y", np.zeros(1, datatype.numpy))
