"""Values through real sessions: every datatype, text, empty tensors, scalars, defaults, BF16."""

import ml_dtypes
import numpy as np
import onnx_models
import pytest
from onnx import helper

from headrace.datatypes import Datatype
from headrace.errors import LoadFailed

VALUES = {
    Datatype.BOOL: [True, False, True],
    Datatype.BYTES: ["é \U0001f30a", "a\0b", ""],
    Datatype.FP16: [1.5, -2.0, float("inf")],
    Datatype.FP32: [1.5, -2.0, float("nan")],
    Datatype.FP64: [1e300, -2.0, 0.1],
    Datatype.BF16: [1.5, -2.0, float("inf")],
}


def values(datatype):
    if datatype in VALUES:
        return np.array(VALUES[datatype], datatype.numpy)
    info = np.iinfo(datatype.numpy)
    return np.array([info.min, info.max, 1], datatype.numpy)


@pytest.mark.parametrize("datatype", list(Datatype))
def test_every_datatype_comes_back_bit_for_bit(runner, datatype):
    _, run = runner(onnx_models.identity(datatype.value))
    given = values(datatype)
    (got,) = run({"x": given}).values()
    assert got.dtype == datatype.numpy
    if datatype is Datatype.BYTES:
        assert got.tolist() == given.tolist()
        assert all(type(text) is str for text in got)
    else:
        assert got.tobytes() == given.tobytes()


@pytest.mark.parametrize("datatype", list(Datatype))
def test_empty_tensors_keep_their_shape(runner, datatype):
    _, run = runner(onnx_models.identity(datatype.value, ("n", "k")))
    got = run({"x": np.zeros((0, 3), datatype.numpy)})["y"]
    assert got.shape == (0, 3)
    assert got.dtype == datatype.numpy


@pytest.mark.parametrize("datatype", [Datatype.FP32, Datatype.BF16, Datatype.BYTES])
def test_scalars_are_arrays_without_axes(runner, datatype):
    _, run = runner(onnx_models.identity(datatype.value, ()))
    got = run({"x": np.array("t" if datatype is Datatype.BYTES else 2.0, datatype.numpy)})["y"]
    assert isinstance(got, np.ndarray)
    assert got.shape == ()


@pytest.mark.parametrize("datatype", [Datatype.FP32, Datatype.BF16, Datatype.BYTES])
def test_views_that_are_not_contiguous_are_read_right(runner, datatype):
    _, run = runner(onnx_models.identity(datatype.value))
    given = np.array(["a", "b", "c", "d"] if datatype is Datatype.BYTES else [1, 2, 3, 4], datatype.numpy)[::2]
    assert run({"x": given})["y"].tolist() == given.tolist()


def test_views_on_a_body_may_be_read_only_and_unaligned(runner):
    _, run = runner(onnx_models.identity("FP32"))
    body = b"?" + np.arange(4, dtype=np.float32).tobytes()
    given = np.frombuffer(body, np.float32, offset=1)
    assert not given.flags.aligned
    assert run({"x": given})["y"].tolist() == [0, 1, 2, 3]


def test_inputs_with_a_default_may_be_given_or_left_out(runner):
    _, run = runner(onnx_models.two_inputs_with_default(default=5.0))
    x = np.ones((1, 2), np.float32)
    assert run({"x": x})["y"].tolist() == [[6, 6]]
    assert run({"x": x, "offset": np.array([7], np.float32)})["y"].tolist() == [[8, 8]]


def test_outputs_come_in_the_models_order(runner):
    _, run = runner(onnx_models.two_inputs())
    two, three = np.full((1, 4), 2, np.float32), np.full((1, 4), 3, np.float32)
    got = run({"b": three, "a": two})
    assert {name: array[0, 0] for name, array in got.items()} == {"sum": 5, "product": 6}
    assert list(got) == ["sum", "product"]


def test_bfloat16_beside_another_output(runner):
    _, run = runner(onnx_models.bfloat16_sum())
    given = np.arange(6).reshape(2, 3).astype(ml_dtypes.bfloat16)
    got = run({"x": given})
    assert got["y"].tobytes() == given.tobytes()
    assert got["z"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_bfloat16_input_with_other_outputs_only(runner):
    cast = onnx_models.one_node("Cast", [onnx_models.tensor("x", "BF16")], onnx_models.tensor("y"), to=1)
    _, run = runner(cast)
    assert run({"x": np.array([1.5, 2], ml_dtypes.bfloat16)})["y"].tolist() == [1.5, 2]


def test_text_in_and_bfloat16_out_is_refused_at_load(runner):
    tensor = onnx_models.tensor
    mixed = onnx_models.model(
        [helper.make_node("Identity", ["s"], ["t"]), helper.make_node("Identity", ["x"], ["y"])],
        [tensor("s", "BYTES"), tensor("x", "BF16")],
        [tensor("t", "BYTES"), tensor("y", "BF16")],
    )
    with pytest.raises(LoadFailed, match=r"text \(input 's'\) and give BF16 \(output 'y'\)"):
        runner(mixed)


def test_a_rejected_run_writes_nothing_to_stderr(runner, capfd):
    _, run = runner(onnx_models.gather())
    with pytest.raises(Exception, match="out of data bounds"):
        run({"ids": np.array([[99]])})
    assert capfd.readouterr().err == ""
