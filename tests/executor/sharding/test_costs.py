import numpy as np
import pytest
from onnx import ModelProto, helper
from onnx_models import constant, model, tensor

from executor.sharding.costs import CPU, CUDA, Speed, seconds, speed
from executor.sharding.graph import read_graph
from executor.sharding.shapes import Sizes, concrete

ARITHMETIC = Speed(1.0, 1e30, 1e30, 0.5, 0.0, 1.0, 0.0, {8: 4.0, 16: 2.0})
"""Seconds are FLOPs, of convolutions twice as many."""
TRAFFIC = Speed(1e30, 1.0, 0.5, 1.0, 0.0, 1.0, 0.0, {})
"""Seconds are bytes, of weights twice as many."""


def costs(nodes, inputs, weights=(), at=ARITHMETIC, made="FP32"):
    graph = read_graph(ModelProto.FromString(model(nodes, inputs, [tensor("y", made, None)], weights)))
    return seconds(graph, concrete(graph, Sizes(2, 7)), at)


def cost(kind, shapes, weights=(), at=ARITHMETIC, dtype=np.float32, **attributes):
    """Of one node that takes inputs of these shapes, then weights of those."""
    inputs = [tensor(f"x{index}", "FP32", shape) for index, shape in enumerate(shapes)]
    fixed = [constant(f"w{index}", np.zeros(shape), dtype) for index, shape in enumerate(weights)]
    names = [*(each.name for each in inputs), *(each.name for each in fixed)]
    return costs([helper.make_node(kind, names, ["y"], **attributes)], inputs, fixed, at)[0]


@pytest.mark.parametrize(
    ("found", "flops"),
    [
        (lambda: cost("MatMul", [("n", 3)], [(3, 5)]), 2 * 2 * 3 * 5),
        (lambda: cost("MatMul", [("n", 4, 6, 3), ("n", 4, 3, 5)]), 2 * 2 * 4 * 6 * 3 * 5),
        (lambda: cost("Gemm", [(3, "n")], [(3, 5)], transA=1), 2 * 7 * 3 * 5),
        (lambda: cost("Conv", [("n", 4, 9, 9)], [(8, 4, 3, 3)]), 2 * 2 * 8 * 7 * 7 * 4 * 9 * 2),
        (lambda: cost("Conv", [("n", 4, 9, 9)], [(8, 2, 3, 3)], group=2), 2 * 2 * 8 * 7 * 7 * 2 * 9 * 2 / 0.4),
        (lambda: cost("ConvTranspose", [("n", 4, 9, 9)], [(4, 8, 3, 3)]), 2 * 2 * 4 * 81 * 8 * 9 * 2),
        (lambda: cost("Einsum", [("n", 3, 4), ("n", 4, 5)], equation="bij, bjk -> bik"), 2 * 2 * 3 * 4 * 5),
        (lambda: cost("GRU", [(6, "n", 4)], [(1, 15, 4), (1, 15, 5)], hidden_size=5), 2 * 6 * 7 * (60 + 75)),
        (lambda: cost("Relu", [("n", 3)]), 0),
    ],
)
def test_arithmetic_is_counted_by_kind(found, flops):
    assert found() == pytest.approx(flops)


@pytest.mark.parametrize(
    ("found", "moved"),
    [
        (lambda: cost("Relu", [("n", 3)], at=TRAFFIC), 2 * (2 * 3 * 4)),
        (lambda: cost("Add", [("n", 3)], [(3,)], at=TRAFFIC), 2 * (2 * 3 * 4) + 2 * 3 * 4),
        (lambda: cost("Reshape", [("n", 6)], [(2,)], at=TRAFFIC, dtype=np.int64), 0),
        (lambda: cost("MaxPool", [("n", 1, 4, 4)], at=TRAFFIC, kernel_shape=[2, 2], strides=[2, 2]), 2 * 4 * 4 * 5),
        (lambda: cost("GlobalAveragePool", [("n", 1, 4, 4)], at=TRAFFIC), 2 * (16 + 1) * 4),
    ],
)
def test_traffic_is_what_is_taken_and_made(found, moved):
    assert found() == pytest.approx(moved)


def test_of_a_table_only_the_rows_that_are_asked_for_are_read():
    ids, table = tensor("ids", "INT64", ("n", 7)), constant("table", np.zeros((1000, 16)))
    assert costs([helper.make_node("Gather", ["table", "ids"], ["y"])], [ids], [table], TRAFFIC) == [2 * 2 * 7 * 16 * 4]


def test_integers_are_faster():
    one = [constant("scale", 0.1), constant("zero", 0, np.int8)]
    weights = constant("w", np.zeros((4, 8)), np.int8)
    names = ["x", "scale", "zero", "w", "scale", "zero", "scale", "zero"]
    nodes = [helper.make_node("QLinearMatMul", names, ["y"])]
    found = costs(nodes, [tensor("x", "INT8", ("n", 4))], [*one, weights], made="INT8")
    assert found == [2 * 2 * 4 * 8 / 4]


def test_what_is_made_of_weights_costs_nothing_in_a_run():
    nodes = [helper.make_node("Transpose", ["w"], ["t"]), helper.make_node("MatMul", ["x", "t"], ["y"])]
    found = costs(nodes, [tensor("x", "FP32", ("n", 3))], [constant("w", np.zeros((5, 3)))])
    assert found == [0, 60]


def branch(name, *widths):
    """A graph of products with matrices of these widths."""
    nodes, weights, at = [], [], "x"
    for index, width in enumerate(widths):
        weights.append(constant(f"{name}{index}", np.zeros((4, width))))
        nodes.append(helper.make_node("MatMul", ["x", weights[-1].name], [f"{name} {index}"]))
        at = f"{name} {index}"
    return helper.make_graph(nodes, name, [], [tensor(at, "FP32", None)], weights)


def test_of_branches_the_slower_one_counts():
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch("a", 3, 3), else_branch=branch("b", 5))
    assert costs([node], [tensor("x", "FP32", ("n", 4)), tensor("c", "BOOL", ())]) == [2 * 2 * 4 * 3 * 2]


@pytest.mark.parametrize(("trips", "rounds"), [("known", 9), ("asked", 1)])
def test_rounds_of_a_loop_count_if_they_are_known(trips, rounds):
    body = helper.make_graph(
        [helper.make_node("MatMul", ["h", "w"], ["next"]), helper.make_node("Identity", ["on"], ["still"])],
        "body",
        [tensor("i", "INT64", ()), tensor("on", "BOOL", ()), tensor("h", "FP32", (2, 4))],
        [tensor("still", "BOOL", ()), tensor("next", "FP32", (2, 4))],
    )
    nodes = [helper.make_node("Loop", [trips, "", "x"], ["y"], body=body)]
    weights = [constant("w", np.zeros((4, 4))), constant("known", 9, np.int64)]
    found = costs(nodes, [tensor("x", "FP32", (2, 4)), tensor("asked", "INT64", ())], weights)
    assert found == [rounds * 2 * 2 * 4 * 4]


def test_accelerators_are_all_alike_and_no_cpu():
    assert speed("cpu") is CPU
    assert speed("cuda") is speed("tensorrt") is CUDA
