import pytest
import sharded_models
from onnx import ModelProto, TensorProto, helper
from onnx_models import model, one_node, tensor

from executor.sharding.graph import read_graph
from executor.sharding.planning import asking
from executor.sharding.shapes import Sizes, concrete, declared, unknown


def graph_of(serialised):
    return read_graph(ModelProto.FromString(serialised))


def axes(info):
    return [axis.dim_param or axis.dim_value for axis in info.type.tensor_type.shape.dim]


def test_free_axes_get_their_sizes_by_name_then_by_place():
    x, z = tensor("x", "FP32", ("n", "length", 4)), tensor("z", "FP32", ("other", "n", 4))
    graph = graph_of(model([helper.make_node("Identity", ["x"], ["y"])], [x, z], [tensor("y", "FP32", None)]))
    values = concrete(graph, Sizes(rows=2, free=7))
    assert (values["x"].shape, values["z"].shape) == ((2, 7, 4), (2, 2, 4))
    values = concrete(graph, Sizes(rows=2, free=7, axes={"length": 9, "other": 3}))
    assert (values["x"].shape, values["y"].shape, values["z"].shape) == ((2, 9, 4), (2, 9, 4), (3, 2, 4))
    assert values["y"].bytes == 2 * 9 * 4 * 4


def test_shapes_that_the_graph_computes_are_known():
    """`encoder` has the shapes of its reshapes from its inputs'."""
    graph = graph_of(sharded_models.encoder())
    values = concrete(graph, Sizes(3, 5))
    assert values["y"].shape == (3, 5, 50)
    assert unknown(graph, values) == []


def test_stages_keep_the_free_axes_of_the_model():
    assert axes(declared(graph_of(sharded_models.layers()))["n1"]) == ["rows", 32]


def test_shapes_in_the_file_that_no_longer_hold_are_not_believed():
    """Somebody freed the inputs' first axis and left what was said of values in between."""
    proto = ModelProto.FromString(sharded_models.layers())
    proto.graph.value_info.append(tensor("n1", "FP32", (1, 32)))
    graph = graph_of(proto.SerializeToString())
    assert axes(declared(graph)["n1"]) == ["rows", 32]
    assert concrete(graph, Sizes(6))["n1"].shape == (6, 32)


def test_the_runtime_says_what_onnx_does_not_know(source):
    read = source(sharded_models.fused_kinds())
    alone = declared(read.graph)
    assert not alone.get("n0", TensorProto()).ByteSize()
    asked = declared(read.graph, asking(read))
    assert axes(asked["n0"]) == ["rows", 32]
    values = concrete(read.graph, Sizes(3), asking(read))
    assert (values["n0"].element, values["n0"].shape) == (TensorProto.FLOAT, (3, 32))


def test_what_only_a_run_can_tell_is_guessed_and_said():
    x, y = tensor("x", "FP32", ("n", 8)), tensor("y", "INT64", (2, None))
    graph = graph_of(one_node("NonZero", [x], y))
    values = concrete(graph, Sizes(4))
    assert unknown(graph, values) == ["y"]
    assert values["y"].bytes == values["x"].bytes


def test_a_runtime_that_refuses_is_no_obstacle():
    def refuse(model):
        raise RuntimeError("no such operator")

    assert "x" in declared(graph_of(sharded_models.fused_kinds()), refuse)


@pytest.mark.parametrize("model", [sharded_models.sequences, sharded_models.control_flow])
def test_what_is_no_tensor_has_no_element(model):
    values = concrete(graph_of(model()), Sizes(3))
    assert {name for name, value in values.items() if not value.element} <= {"n2"}
