"""What is remembered of a message changes no request, and answers have the bytes that protobuf gives them."""

import numpy as np
import pytest
from arrays import arrays_of, same
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2 as pb

from headrace.datatypes import BY_NUMPY, Datatype
from headrace.errors import ServingError
from headrace.models import ModelId
from headrace.requests import InferRequest, InferResponse
from server.memory import Twice
from server.rpc import forms
from server.rpc.codec import decode, encode
from server.rpc.forms import read, written
from server.wire import to_raw


@pytest.fixture(autouse=True)
def forget():
    for memory in (forms._forms, forms._once, forms._heads):
        memory.clear()


def message(*arrays, **fields):
    request = pb.ModelInferRequest(model_name="m", raw_input_contents=[to_raw(array) for array in arrays], **fields)
    for index, array in enumerate(arrays):
        request.inputs.add(name=f"x{index}", datatype=BY_NUMPY[array.dtype].wire, shape=array.shape)
    return request


def bytes_of(*arrays, **fields):
    return message(*arrays, **fields).SerializeToString()


def equal(one, other):
    rest = [name for name in InferRequest.__struct_fields__ if name != "inputs"]
    return (
        [getattr(one, name) for name in rest] == [getattr(other, name) for name in rest]
        and list(one.inputs) == list(other.inputs)
        and all(same(one.inputs[name], other.inputs[name]) for name in one.inputs)
    )


ONE, TWO = np.float32([[1, 2]]), np.int64([3])


def test_a_form_seen_twice_is_known_and_its_tensors_are_read_anew():
    outputs = [pb.ModelInferRequest.InferRequestedOutputTensor(name="y")]
    fields = {"model_version": "7", "outputs": outputs}
    first, second = (read(bytes_of(ONE, TWO, **fields)) for _ in range(2))
    assert len(forms._forms) == 1
    assert equal(first, second)
    found = forms.recall(bytes_of(5 * ONE, 7 * TWO, **fields))
    assert found.inputs["x0"].tolist() == [[5, 10]]
    assert found.inputs["x1"].tolist() == [21]
    assert equal(found, decode(message(5 * ONE, 7 * TWO, **fields)))


def test_messages_of_one_length_and_beginning_are_told_apart():
    name = "x" * 80  # so that what differs comes late

    def named(id, last):
        request = pb.ModelInferRequest(model_name=name, id=id, raw_input_contents=[to_raw(ONE)])
        request.inputs.add(name=last, datatype="FP32", shape=[1, 2])
        return request

    for _ in range(3):
        for id, last in (("a", "p"), ("b", "p"), ("a", "q")):
            request = read(named(id, last).SerializeToString())
            assert (request.id, list(request.inputs)) == (id, [last])


def test_other_lengths_of_the_raw_tensors_are_not_taken_for_the_form():
    def texts(*lengths):
        return [np.array(["x" * length], object) for length in lengths]

    for _ in range(3):
        for lengths in ((3, 5), (4, 4), (5, 3)):
            found = read(bytes_of(*texts(*lengths)))
            assert [len(array[0]) for array in found.inputs.values()] == list(lengths)


def test_typed_contents_long_heads_and_new_ids_are_parsed_each_time():
    typed = pb.ModelInferRequest(model_name="m")
    typed.inputs.add(name="x", datatype="FP32", shape=[1]).contents.fp32_contents.append(1)
    for data in (typed.SerializeToString(), bytes_of(ONE, id="i" * Twice.LARGEST)):
        assert equal(read(data), read(data))
    for number in range(5):
        assert read(bytes_of(ONE, id=str(number))).id == str(number)
    assert not forms._forms


def test_fields_in_another_order_are_not_remembered_and_read_right():
    whole = message(ONE)
    raws = pb.ModelInferRequest(raw_input_contents=whole.raw_input_contents).SerializeToString()
    rest = message(ONE)
    del rest.raw_input_contents[:]
    for _ in range(3):
        assert equal(read(raws + rest.SerializeToString()), decode(whole))
    assert not forms._forms


@given(st.data())
def test_any_change_to_a_known_message_is_read_as_if_nothing_were_known(data):
    known = bytes_of(ONE, np.array([True, False]), id="a")
    for _ in range(2):
        read(known)
    changed = bytearray(known)
    for _ in range(data.draw(st.integers(0, 2))):
        changed[data.draw(st.integers(0, len(known) - 1))] = data.draw(st.integers(0, 255))
    changed = bytes(changed[: data.draw(st.integers(len(known) - 4, len(known)))])
    found = outcome(lambda: read(changed))
    plain = outcome(lambda: decode(pb.ModelInferRequest.FromString(changed)))
    assert (found == plain) if isinstance(plain, str) else equal(found, plain)


def outcome(call):
    try:
        return call()
    except DecodeError as error:
        return f"the message is not a valid inference.ModelInferRequest: {error}"
    except ServingError as error:
        return str(error)


@given(st.data())
def test_an_answer_has_the_bytes_that_protobuf_writes(data):
    kinds = data.draw(st.lists(st.sampled_from(list(Datatype)), max_size=3))
    outputs = {f"y{index}": data.draw(arrays_of(kind)) for index, kind in enumerate(kinds)}
    id, parameters = data.draw(st.sampled_from([("", {}), ("7", {}), ("", {"a": 1}), ("é", {"b": "x"})]))
    response = InferResponse(ModelId("m", 3), id, outputs, parameters)
    for _ in range(2):
        assert written(response) == encode(response).SerializeToString()


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384, 300_000])
def test_lengths_of_all_sizes_are_written(size):
    response = InferResponse(ModelId("m", 3), "", {"y": np.zeros(size, np.uint8)})
    assert written(response) == encode(response).SerializeToString()
    for _ in range(2):
        assert len(read(bytes_of(np.zeros(size, np.uint8))).inputs["x0"]) == size
    assert len(forms._forms) == 1
