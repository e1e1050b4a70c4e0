import tracemalloc

import numpy as np
import onnx
import pytest
import sharded_models
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx_models import constant, mlp, model, tensor
from sharded_models import field

from executor.sharding.wire import _INSIDE, _RAW_DATA, LEAST_BYTES, weightless
from headrace.errors import LoadFailed


def entry(found, key):
    return next(each.value for each in found.external_data if each.key == key)


def restored(tensor, file):
    """The same tensor with its bytes in it, from where it says they are."""
    offset, length = int(entry(tensor, "offset")), int(entry(tensor, "length"))
    whole = TensorProto()
    whole.CopyFrom(tensor)
    whole.raw_data = file.read_bytes()[offset : offset + length]
    whole.ClearField("external_data")
    whole.ClearField("data_location")
    return whole


def tensors_in(message):
    """All that are anywhere in a message."""
    if isinstance(message, TensorProto):
        yield message
        return
    for kind, value in message.ListFields():
        if kind.message_type is not None:
            for each in value if kind.is_repeated else (value,):
                yield from tensors_in(each)


def test_field_numbers_are_those_of_onnx():
    assert onnx.TensorProto.DESCRIPTOR.fields_by_name["raw_data"].number == _RAW_DATA
    for message, ways in _INSIDE.items():
        fields = getattr(onnx, message).DESCRIPTOR.fields_by_number
        assert {number: fields[number].message_type.name for number in ways} == ways


@pytest.mark.parametrize(
    "serialised",
    [mlp(), sharded_models.encoder(), sharded_models.control_flow(), sharded_models.functions()],
    ids=["initializers", "many", "in subgraphs", "in functions"],
)
def test_large_weights_become_references_to_themselves(tmp_path, serialised):
    file = tmp_path / "model.onnx"
    file.write_bytes(serialised)
    found, original = weightless(file, "there"), ModelProto.FromString(serialised)
    references = [each for each in tensors_in(found) if each.data_location == TensorProto.EXTERNAL]
    large = [each for each in tensors_in(original) if len(each.raw_data) >= LEAST_BYTES]
    assert large
    assert [restored(each, file) for each in references] == large
    assert {entry(each, "location") for each in references} == {"there"}
    for each, whole in zip(references, large, strict=True):
        each.CopyFrom(whole)
    assert found == original  # nothing else has changed


def test_what_is_small_or_not_raw_stays(tmp_path):
    typed = helper.make_tensor("typed", TensorProto.FLOAT, [1000], np.arange(1000.0))
    small = constant("small", np.zeros(LEAST_BYTES // 4 - 1))
    large = constant("large", np.zeros(LEAST_BYTES // 4))
    nodes = [helper.make_node("Sum", ["x", "typed", "small", "large"], ["y"])]
    serialised = model(nodes, [tensor("x")], [tensor("y")], [typed, small, large])
    (tmp_path / "model.onnx").write_bytes(serialised)
    kept = weightless(tmp_path / "model.onnx", "there").graph.initializer
    assert [each.data_location for each in kept] == [TensorProto.DEFAULT, TensorProto.DEFAULT, TensorProto.EXTERNAL]
    assert list(kept[:2]) == [typed, small]


def test_references_that_were_there_already_stay_as_they_are(tmp_path):
    proto = ModelProto.FromString(mlp())
    onnx.save(proto, tmp_path / "model.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    found = weightless(tmp_path / "model.onnx", "there")
    assert found == onnx.load(tmp_path / "model.onnx", load_external_data=False)


def test_weights_are_never_in_memory(tmp_path):
    """Of a gigabyte that is a hole in the file."""
    size = 1 << 30
    proto = ModelProto.FromString(mlp())
    held = TensorProto(name="w", data_type=TensorProto.UINT8, dims=[size])
    raw = held.SerializeToString() + field(_RAW_DATA, size)
    graph = field(5, len(raw) + size) + raw
    file = tmp_path / "model.onnx"
    with file.open("wb") as opened:
        opened.write(proto.SerializeToString() + field(7, len(graph) + size) + graph)
        at = opened.tell()
        opened.truncate(at + size)
    tracemalloc.start()
    try:
        found = weightless(file, "there").graph.initializer[-1]
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (found.name, entry(found, "offset"), entry(found, "length")) == ("w", str(at), str(size))
    assert most < 1 << 20


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_files_are_refused_by_name_or_read(tmp_path_factory, data):
    whole = data.draw(st.sampled_from([mlp(), sharded_models.control_flow()]))
    damaged = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for at in data.draw(st.lists(st.integers(0, max(0, len(damaged) - 1)), max_size=4)):
        if damaged:
            damaged[at] = data.draw(st.integers(0, 255))
    file = tmp_path_factory.mktemp("damaged") / "model.onnx"
    file.write_bytes(damaged)
    try:
        weightless(file, "there")
    except LoadFailed as error:
        assert str(file) in str(error)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "no graph"),
        (mlp()[:-1], "too late"),
        (b"\x0b", "wire type 3"),
        (b"\xff" * 20, "a number without end"),
        (b"\x02\x00", "field 0"),
        (field(7, 2) + b"\x0a\x05", "too late"),
    ],
)
def test_what_is_no_model_says_what_was_found(tmp_path, content, found):
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(LoadFailed, match=rf"model.onnx: expected an ONNX model, found .*{found}|Error parsing"):
        weightless(tmp_path / "model.onnx", "there")


def test_nesting_without_end_is_refused(tmp_path):
    within = bytes(2000)
    for number in [6, 5, 1] * 400:  # a graph in an attribute of a node of a graph
        within = field(number, len(within)) + within
    (tmp_path / "model.onnx").write_bytes(field(7, len(within)) + within)
    with pytest.raises(LoadFailed, match="subgraphs in subgraphs without end"):
        weightless(tmp_path / "model.onnx", "there")


def test_numbers_of_weights_are_right_for_all_types(tmp_path):
    """Offsets are those of raw_data, whatever comes before it in the message."""
    weights = [numpy_helper.from_array(np.full(700, 3, dtype), f"w{at}") for at, dtype in enumerate(("i8", "f2", "f8"))]
    proto = ModelProto.FromString(mlp())
    proto.graph.initializer.extend(weights)
    file = tmp_path / "model.onnx"
    file.write_bytes(proto.SerializeToString())
    found = weightless(file, "there").graph.initializer[-3:]
    assert [restored(each, file) for each in found] == weights
