"""Any graph in any number of stages gives what it gives whole, and each stage is fed what it takes and nothing else."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_models import tensor
from sharded_models import WIDTH, Graph
from sharding_runs import AS_IT_IS, inputs_for, on, run_stages, session

from executor.sharding.planning import Wish, make_plan
from executor.sharding.shapes import Sizes
from executor.sharding.source import read_source
from executor.sharding.stages import stage_models
from headrace.errors import LoadFailed

FLAT = ("rows", WIDTH)


def branch(name, value, weight):
    """A graph that takes both from around it."""
    node = helper.make_node("MatMul", [value, weight], [name])
    return helper.make_graph([node], name, [], [tensor(name, "FP32", FLAT)])


@st.composite
def graphs(draw):
    """Values are all [rows, WIDTH]; a few weights, large and small, are there for all."""
    graph = Graph()
    square, row = [graph.weight(WIDTH, WIDTH) for _ in range(3)], [graph.weight(WIDTH) for _ in range(2)]
    square.append(graph.node("Transpose", square[0], perm=[1, 0]))
    one = graph.constant(0.1), graph.constant(7, np.int8)
    values = ["x", "z"]
    for at in range(draw(st.integers(1, 14))):
        first, second = (draw(st.sampled_from(values)) for _ in range(2))
        weight, small = draw(st.sampled_from(square)), draw(st.sampled_from(row))
        match draw(st.integers(0, 7)):
            case 0:
                made = graph.node("MatMul", first, weight)
            case 1:
                made = graph.node("Add", first, small)
            case 2:
                made = graph.node("Sub", first, second)
            case 3:
                made = graph.node("Softmax", first)
            case 4:
                made = graph.node("Tanh", first)
            case 5:
                made = graph.node("DequantizeLinear", graph.node("QuantizeLinear", first, *one), *one)
            case 6:
                then, otherwise = (
                    branch(f"b{at}{end}", *ends) for end, ends in enumerate(((first, weight), (second, weight)))
                )
                made = graph.node("If", "c", then_branch=then, else_branch=otherwise)
            case _:
                made = f"split{at}"
                graph.nodes.append(helper.make_node("Split", [first], [f"half{at}", made + "'"], axis=1))
                made = graph.node("Concat", made + "'", f"half{at}", axis=1)
        values.append(made)
    outputs = draw(st.lists(st.sampled_from(values[2:]), min_size=1, max_size=3, unique=True))
    inputs = [tensor("x", "FP32", FLAT), tensor("z", "FP32", FLAT), tensor("c", "BOOL", ())]
    return graph.model(inputs, [tensor(name, "FP32", FLAT) for name in outputs])


@settings(max_examples=60, deadline=None)
@given(graphs(), st.integers(1, 5))
def test_stages_of_any_graph_give_what_it_gives(tmp_path_factory, serialised, stages):
    folder = tmp_path_factory.mktemp("any")
    (folder / "model.onnx").write_bytes(serialised)
    source = read_source(folder / "model.onnx")
    try:
        plan = make_plan(source, Wish(on(stages), stages, Sizes(2)))
    except LoadFailed as error:
        assert "cannot be cut into" in str(error)
        return
    whole = session(serialised, folder, AS_IT_IS)
    inputs = inputs_for(whole, rows=2)
    found = run_stages(stage_models(source, plan), folder, inputs, AS_IT_IS)
    for output, values in zip(whole.get_outputs(), whole.run(None, inputs), strict=True):
        assert values.tobytes() == found[output.name].tobytes()
