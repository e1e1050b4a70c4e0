"""Declarations that agree with the model, and one that does not for each reason."""

import pytest

from executor.declared import check_declared
from headrace.datatypes import Datatype
from headrace.errors import LoadFailed
from headrace.models import ModelId, TensorSpec

ID = ModelId("m", 1)
FP32, INT64 = Datatype.FP32, Datatype.INT64
MODEL = (TensorSpec("x", FP32, (-1, 4)), TensorSpec("bias", FP32, (1,), optional=True))


@pytest.mark.parametrize(
    "declared",
    [
        (),
        (TensorSpec("x", FP32, (-1, 4)),),
        (TensorSpec("x", FP32, (-1, -1)),),  # less said than the model says
        (TensorSpec("x", FP32, (8, 4)),),  # more
        (TensorSpec("x", FP32, (-1, 4)), TensorSpec("bias", FP32, (1,))),
    ],
)
def test_declarations_that_agree(declared):
    check_declared(ID, "input", declared, MODEL)


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ((TensorSpec("z", FP32, (-1, 4)),), "input 'z' is declared, the model's inputs are 'x', 'bias'"),
        ((TensorSpec("x", INT64, (-1, 4)),), "input 'x' is declared as INT64, the model has FP32"),
        ((TensorSpec("x", FP32, (4,)),), "input 'x' is declared with shape [4], the model has [-1, 4]"),
        ((TensorSpec("x", FP32, (-1, 5)),), "input 'x' is declared with shape [-1, 5], the model has [-1, 4]"),
        ((TensorSpec("bias", FP32, (1,)),), "input 'x' of the model is not among the declared ones"),
    ],
)
def test_contradictions_say_expected_and_found(declared, words):
    with pytest.raises(LoadFailed) as caught:
        check_declared(ID, "input", declared, MODEL)
    assert str(caught.value) == f"model m/1: {words}"


def test_outputs_may_be_declared_in_part():
    check_declared(ID, "output", (MODEL[1],), MODEL)


def test_shapes_the_model_does_not_know_are_not_compared():
    check_declared(ID, "output", (TensorSpec("y", FP32, (-1, 7)),), (TensorSpec("y", FP32, ()),), unranked={"y"})
