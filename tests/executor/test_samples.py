"""Synthetic inputs: shapes, harmless values, rows that differ."""

import numpy as np
import onnx_models
import pytest

from executor.metadata import Signature
from executor.samples import samples
from headrace.datatypes import Datatype
from headrace.models import TensorSpec


def signature(*tensors):
    specs = tuple(
        TensorSpec(name, datatype, tuple(axis if isinstance(axis, int) else -1 for axis in axes))
        for name, datatype, axes in tensors
    )
    return Signature(specs, (), {name: tuple(axes) for name, _, axes in tensors})


@pytest.mark.parametrize(
    ("axes", "shape"),
    [
        (("n", 5), (3, 5)),
        ((None, None, "k"), (3, 4, 4)),
        ((2, "k"), (2, 4)),
        ((), ()),
        (("n", "n"), (3, 3)),
        (("n", 0), (3, 0)),
    ],
)
def test_shapes(axes, shape):
    assert samples(signature(("x", Datatype.FP32, axes)), rows=3, free=4)["x"].shape == shape


def test_one_symbolic_name_is_one_size_across_inputs():
    made = samples(signature(("a", Datatype.FP32, ("n", "k")), ("b", Datatype.INT64, (2, "n", "k"))), rows=3, free=7)
    assert made["a"].shape == (3, 7)
    assert made["b"].shape == (2, 3, 7)


@pytest.mark.parametrize("datatype", list(Datatype))
def test_values_are_small_of_the_right_type_and_differ_between_rows(datatype):
    one = samples(signature(("x", datatype, ("n",))), rows=3, free=4)["x"]
    assert one.dtype == datatype.numpy
    assert one[0] != one[1]
    if datatype is Datatype.BYTES:
        assert set(one.tolist()) <= {"0", "1"}
        assert all(type(text) is str for text in one)
    else:
        numbers = one.astype(np.float64)
        assert ((numbers >= 0) & (numbers <= 1)).all()


def test_the_same_arguments_give_the_same_arrays():
    about = signature(("x", Datatype.FP32, ("n", 3)))
    np.testing.assert_array_equal(samples(about, 3, 4)["x"], samples(about, 3, 4)["x"])


def test_inputs_with_defaults_are_left_out(read):
    assert list(samples(read(onnx_models.two_inputs_with_default()), rows=3, free=4)) == ["x"]
