"""What is remembered of a body changes no request, and what is wrong with one is said as if nothing were remembered."""

import json

import numpy as np
import pytest
from arrays import same
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import BadRequest
from headrace.requests import InferRequest
from server.rest import forms
from server.rest.codec import decode


@pytest.fixture(autouse=True)
def forgotten():
    forget()


def forget():
    for memory in (forms._flat, forms._binary, forms._once):
        memory.clear()


def known():
    return len(forms._flat) + len(forms._binary)


def flat(values, shape=None, datatype="FP32", **fields):
    tensor = {"name": "x", "datatype": datatype, "shape": shape or [1, len(values)], "data": values}
    return json.dumps({"inputs": [tensor]} | fields).encode()


def twice(body, header_length=None):
    return [decode("m", "", body, header_length) for _ in range(2)]


def equal(one, other):
    return (
        [getattr(one, name) for name in InferRequest.__struct_fields__ if name != "inputs"]
        == [getattr(other, name) for name in InferRequest.__struct_fields__ if name != "inputs"]
        and list(one.inputs) == list(other.inputs)
        and all(same(one.inputs[name], other.inputs[name]) for name in one.inputs)
    )


@pytest.mark.parametrize(
    ("body", "changed", "expected"),
    [
        (flat([1, 2.5]), flat([3, 4e10]), [[3, 4e10]]),
        (flat([1, 2], datatype="UINT8"), flat([0, 255], datatype="UINT8"), [[0, 255]]),
        (flat([True], datatype="BOOL"), flat([False], datatype="BOOL"), [[False]]),
        (flat([[1, 2]]), None, None),
        (flat([[1, 2]], [1, 2]), flat([[7, 8]], [1, 2]), [[7, 8]]),
        (flat([1], id="a", outputs=[{"name": "y"}]), flat([2], id="a", outputs=[{"name": "y"}]), [[2]]),
        (b'{"inputs":[{"data":[1],"name":"x","shape":[1],"datatype":"FP64"}]}',) * 2 + ([1],),
    ],
)
def test_a_form_seen_twice_is_known_and_its_data_is_read_anew(body, changed, expected):
    if changed is None:
        with pytest.raises(BadRequest):
            twice(body)
        return
    first, second = twice(body)
    assert known() == 1
    assert equal(first, second)
    assert forms.recall("m", "", body, None) is not None
    assert decode("m", "", changed).inputs["x"].tolist() == np.array(expected, first.inputs["x"].dtype).tolist()
    assert equal(decode("n", "4", body), InferRequest("n", "4", first.inputs, first.id, outputs=first.outputs))


@pytest.mark.parametrize(
    "data",
    ["[1]", "[1,2,3]", "[1,true]", '[1,"2"]', "[1,null]", "[1,1e39]", "[1,2", "[1,[2]]", "[[1,2]]]", "[1,]", "1"],
)
def test_wrong_data_in_a_known_form_is_refused_in_the_same_words(data):
    body = flat([1, 2])
    bad = body.replace(b"[1, 2]}", data.encode() + b"}")
    assert bad != body
    with pytest.raises(BadRequest) as unknown:
        decode("m", "", bad)
    twice(body)
    assert known() == 1
    with pytest.raises(BadRequest) as remembered:
        decode("m", "", bad)
    assert str(remembered.value) == str(unknown.value)


def test_number_lists_elsewhere_are_not_taken_for_the_data():
    for template in (
        '{"parameters":{"data":[5]},"inputs":[{TENSOR,"data":[1]}]}',
        '{"inputs":[{"parameters":{"data":[5]},TENSOR,"data":[1]}]}',
        '{"inputs":[{"data":[5],TENSOR,"data":[1]}]}',
        '{"id":"\\"data\\":[5]","inputs":[{TENSOR,"data":[1]}]}',
    ):
        body = template.replace("TENSOR", '"name":"x","datatype":"INT8","shape":[1]')
        for text in (body, body, body.replace("[5]", "[6]"), body.replace("[5]", "[6,7]")):
            assert decode("m", "", text.encode()).inputs["x"].tolist() == [1]


def test_what_follows_the_data_counts_too():
    twice(flat([1], id="a"))
    assert decode("m", "", flat([1], id="b")).id == "b"
    twice(flat([1], id="b"))
    assert [decode("m", "", flat([1], id=each)).id for each in "abab"] == list("abab")


def test_several_rows_in_brackets_and_several_inputs_are_parsed_each_time():
    rows = flat([[1, 2], [3, 4]], [2, 2])
    two = json.dumps({"inputs": [json.loads(flat([1]))["inputs"][0] | {"name": name} for name in "xy"]}).encode()
    for body in (rows, two):
        first, second = twice(body)
        assert equal(first, second)
    assert known() == 0


def test_ids_that_are_never_repeated_are_not_remembered():
    for number in range(10):
        decode("m", "", flat([1], id=str(number)))
    assert known() == 0


def test_a_long_form_is_not_remembered():
    twice(flat([1], id="x" * 3000))
    assert known() == 0


def test_a_deep_pile_of_brackets_costs_no_walk_through_it():
    bad = b'{"inputs":[{"data":' + b"[" * 1_000_000
    assert forms._numbers_at(bad) < 100
    with pytest.raises(BadRequest):
        decode("m", "", bad)


def binary(*arrays, **fields):
    inputs = [
        {
            "name": f"x{index}",
            "datatype": "FP32",
            "shape": list(array.shape),
            "parameters": {"binary_data_size": array.nbytes},
        }
        for index, array in enumerate(arrays)
    ]
    head = json.dumps({"inputs": inputs} | fields).encode()
    head += b" " * (-len(head) % 8)  # aligned, so that nothing need be copied
    return head + b"".join(array.tobytes() for array in arrays), len(head)


def test_binary_tensors_behind_a_known_head_are_views_on_their_own_body():
    one, other = np.float32([[1, 2]]), np.float32([3])
    first, second = twice(*binary(one, other))
    assert known() == 1
    assert equal(first, second)
    body, length = binary(2 * one, 5 * other)
    request = forms.recall("m", "", body, length)
    assert request.inputs["x0"].tolist() == [[2, 4]]
    assert request.inputs["x1"].tolist() == [15]
    assert request.inputs["x0"].base is not None


@pytest.mark.parametrize("change", [lambda body: body[:-1], lambda body: body + b"\0"])
def test_wrong_length_behind_a_known_head_is_refused_in_the_same_words(change):
    body, length = binary(np.float32([[1, 2]]))
    with pytest.raises(BadRequest) as unknown:
        decode("m", "", change(body), length)
    twice(body, length)
    with pytest.raises(BadRequest) as remembered:
        decode("m", "", change(body), length)
    assert str(remembered.value) == str(unknown.value)


_NUMBERS = st.lists(st.integers(-3, 300) | st.floats(allow_nan=False, width=32), max_size=4)
_DOCUMENTS = st.builds(
    lambda values, shape, datatype, nested, fields: (
        {"inputs": [{"name": "x", "datatype": datatype, "shape": shape, "data": [values] if nested else values}]}
        | fields
    ),
    _NUMBERS,
    st.sampled_from([[1, 2], [2], [2, 1], [0]]),
    st.sampled_from(["FP32", "FP64", "INT8", "UINT64", "BOOL"]),
    st.booleans(),
    st.sampled_from([{}, {"id": "a"}, {"parameters": {"data": [1, 2]}}, {"outputs": [{"name": "data"}]}]),
)


@given(st.lists(_DOCUMENTS, min_size=1, max_size=4), st.sampled_from([None, (",", ":")]))
def test_whatever_was_sent_before_every_body_is_read_as_if_it_were_the_first(documents, separators):
    forget()
    for document in documents * 3:
        body = json.dumps(document, separators=separators).encode()
        found = outcome(body)
        kept = [dict(memory) for memory in (forms._flat, forms._binary, forms._once)]
        forget()
        alone = outcome(body)
        for memory, entries in zip((forms._flat, forms._binary, forms._once), kept, strict=True):
            memory.update(entries)
        if isinstance(alone, str):
            assert found == alone
        else:
            assert equal(found, alone)


def outcome(body):
    try:
        return decode("m", "", body)
    except BadRequest as error:
        return str(error)
