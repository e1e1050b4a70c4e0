"""What a session says of its tensors, in V2's words."""

import onnx_models
import pytest
from onnx import TensorProto, helper

from executor.metadata import with_observed_ranks
from headrace.datatypes import Datatype
from headrace.errors import LoadFailed
from headrace.models import TensorSpec


@pytest.mark.parametrize("datatype", list(Datatype))
def test_every_v2_datatype_is_read(read, datatype):
    signature = read(onnx_models.identity(datatype.value, ("n", 3)))
    assert signature.inputs == (TensorSpec("x", datatype, (-1, 3)),)
    assert signature.outputs == (TensorSpec("y", datatype, (-1, 3)),)


@pytest.mark.parametrize(
    ("shape", "spec", "axes"),
    [
        (("n", 3), (-1, 3), ("n", 3)),
        ((None, 3), (-1, 3), (None, 3)),
        ((2, "k", None), (2, -1, -1), (2, "k", None)),
        ((), (), ()),
        ((0, 4), (0, 4), (0, 4)),
    ],
)
def test_free_dimensions_are_minus_one_and_keep_their_names(read, shape, spec, axes):
    signature = read(onnx_models.identity("FP32", shape))
    assert signature.inputs[0].shape == signature.outputs[0].shape == spec
    assert signature.axes["x"] == axes


def test_inputs_with_a_default_are_optional_and_last(read):
    signature = read(onnx_models.two_inputs_with_default())
    assert [(spec.name, spec.optional) for spec in signature.inputs] == [("x", False), ("offset", True)]


def test_initialisers_of_old_models_are_no_inputs(read):
    assert [spec.name for spec in read(onnx_models.two_inputs_with_default(ir=3)).inputs] == ["x"]


def test_labels_come_to_their_output_only(read):
    signature = read(onnx_models.two_inputs(), labels={"sum": ("cat", "dog")})
    assert [spec.labels for spec in signature.outputs] == [("cat", "dog"), ()]


def test_labels_of_an_unknown_output_are_refused(read):
    with pytest.raises(
        LoadFailed, match=r"m/1: labels are given for output 'logits', its outputs are 'sum', 'product'"
    ):
        read(onnx_models.two_inputs(), labels={"logits": ("cat",)})


def test_types_that_v2_cannot_carry_are_refused_by_name(read):
    with pytest.raises(
        LoadFailed, match=r"output 'y' is of type seq\(tensor\(float\)\), which the V2 protocol cannot carry"
    ):
        read(onnx_models.sequence_output())


def test_an_optional_type_is_refused_by_name(read):
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])
    optional = helper.make_value_info("x", helper.make_optional_type_proto(value.type))
    node = helper.make_node("OptionalGetElement", ["x"], ["y"])
    with pytest.raises(LoadFailed, match=r"input 'x' is of type optional\(tensor\(float\)\)"):
        read(onnx_models.model([node], [optional], [onnx_models.tensor("y")], opset=18))


def test_input_of_unknown_rank_needs_a_declaration(read):
    with pytest.raises(LoadFailed, match=r"input 'x' has no shape in the model.*config\.pbtxt"):
        read(onnx_models.unknown_ranks())
    signature = read(onnx_models.unknown_ranks(), ranks={"x": 2})
    assert signature.inputs[0].shape == (-1, -1)
    assert signature.unranked == {"y"}


def test_a_shape_that_the_runtime_infers_stands_although_the_file_has_none(read):
    tensor = onnx_models.tensor
    inferred = onnx_models.model(
        [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0)],
        [tensor("x", shape=("n", 3))],
        [tensor("y", shape=None), tensor("total", shape=())],
    )
    signature = read(inferred)
    assert [spec.shape for spec in signature.outputs] == [(-1, 3), ()]
    assert signature.unranked == frozenset()


def test_unknown_output_ranks_are_what_a_run_shows():
    outputs = (TensorSpec("a", Datatype.FP32, (), labels=("l",)), TensorSpec("b", Datatype.FP32, (2,)))
    assert with_observed_ranks(outputs, {"a"}, {"a": 3, "b": 1}) == (
        TensorSpec("a", Datatype.FP32, (-1, -1, -1), labels=("l",)),
        TensorSpec("b", Datatype.FP32, (2,)),
    )
    assert with_observed_ranks(outputs, {"a"}, {})[0].shape == (-1,)
