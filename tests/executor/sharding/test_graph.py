import pytest
import sharded_models
from onnx import ModelProto, TensorProto, helper
from onnx_models import constant, mlp, model, tensor

from executor.sharding.graph import bits, read_graph, tensor_bytes
from headrace.errors import LoadFailed


def graph_of(serialised):
    return read_graph(ModelProto.FromString(serialised))


def by_kind(graph):
    return {node.kind: node for node in graph.nodes}


def test_what_subgraphs_take_from_outside_is_what_their_node_takes():
    nodes = by_kind(graph_of(sharded_models.control_flow()))
    assert set(nodes["If"].uses) == {"much", "n1", "x", "w0"}
    assert set(nodes["Loop"].uses) == {"w3", "n4", "w0"}
    assert nodes["If"].inner_bytes == 32 * 32 * 4


def test_what_comes_of_weights_alone_is_constant_and_carried():
    graph = graph_of(sharded_models.tied())
    transposed = next(node for node in graph.nodes if node.kind == "Transpose" and node.uses == ("w0",))
    assert transposed.carried
    assert graph.constant.issuperset(transposed.makes)
    assert set(graph.taken(graph.nodes[-1])) == {"w0", *graph.nodes[-1].uses} - set(transposed.makes)


def test_dequantised_values_are_carried_unless_the_model_gives_them():
    graph = graph_of(sharded_models.quantised())
    carried = [node.carried for node in graph.nodes if node.kind == "DequantizeLinear"]
    assert not carried[-1]
    assert all(carried[:-1])


@pytest.mark.parametrize("kind", ["RandomNormal", "RandomUniform"])
def test_chance_is_not_repeated_in_each_stage(kind):
    nodes = [helper.make_node(kind, [], ["r"], shape=[2]), helper.make_node("Add", ["x", "r"], ["y"])]
    graph = graph_of(model(nodes, [tensor("x", shape=(2,))], [tensor("y", shape=(2,))]))
    assert not graph.nodes[0].carried


def test_nodes_that_no_output_needs_are_left_out():
    proto = ModelProto.FromString(mlp())
    proto.graph.node.append(helper.make_node("Neg", ["a"], ["nobody"]))
    assert len(graph_of(proto.SerializeToString()).nodes) == 3


def test_functions_are_replaced_by_their_bodies():
    graph = graph_of(sharded_models.functions())
    assert not graph.model.functions
    assert sum(node.kind == "MatMul" for node in graph.nodes) == 4


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda graph: graph.node.insert(0, graph.node.pop()), "node MatMul that makes 'y' takes 'b'"),
        (lambda graph: graph.output[0].CopyFrom(tensor("z")), "no node makes the output 'z'"),
        (lambda graph: graph.node.insert(1, graph.node[0]), "makes 'a', which is there already"),
    ],
)
def test_what_is_no_graph_is_refused_by_name(change, sentence):
    proto = ModelProto.FromString(mlp())
    change(proto.graph)
    with pytest.raises(LoadFailed, match=sentence):
        graph_of(proto.SerializeToString())


@pytest.mark.parametrize(
    ("element", "dims", "size"),
    [
        (TensorProto.FLOAT, [3, 5], 60),
        (TensorProto.BOOL, [9], 9),
        (TensorProto.INT4, [3], 2),
        (TensorProto.FLOAT8E4M3FN, [7], 7),
        (TensorProto.BFLOAT16, [], 2),
        (TensorProto.DOUBLE, [0, 4], 0),
    ],
)
def test_bytes_of_tensors_follow_their_type(element, dims, size):
    assert tensor_bytes(TensorProto(data_type=element, dims=dims)) == size


def test_elements_have_the_size_that_onnx_gives_them():
    """But for those of which several are in a byte, and text."""
    for name, number in TensorProto.DataType.items():
        if name not in ("UNDEFINED", "STRING", "INT2", "UINT2", "INT4", "UINT4", "FLOAT4E2M1"):
            assert bits(number) == 8 * helper.tensor_dtype_to_np_dtype(number).itemsize, name


def test_sparse_weights_weigh_what_they_do_when_dense():
    assert graph_of(sharded_models.sparse()).weights["thin"] == 32 * 32 * 4


def test_inputs_with_defaults_are_weights():
    graph = graph_of(sharded_models.optional_input())
    assert graph.inputs == ("x",)
    assert "scale" in graph.weights
    assert constant("scale", [1.0]).name in graph.constant
