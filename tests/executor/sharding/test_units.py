import numpy as np
import pytest
import sharded_models
from onnx import ModelProto
from sharding_runs import on

from executor.sharding import costs
from executor.sharding.graph import read_graph
from executor.sharding.order import orders
from executor.sharding.plan import place
from executor.sharding.planning import Wish, make_plan
from executor.sharding.shapes import Sizes, concrete
from executor.sharding.units import units

MODELS = [
    sharded_models.layers,
    sharded_models.branches,
    sharded_models.encoder,
    sharded_models.several_outputs,
    sharded_models.control_flow,
    sharded_models.quantised,
]


def gathered(serialised):
    graph = read_graph(ModelProto.FromString(serialised))
    values = concrete(graph, Sizes(3, 5))
    return graph, units(graph, values, {"cpu": costs.seconds(graph, values, costs.CPU)})


def kinds(graph, found):
    return [[graph.nodes[index].kind for index in nodes] for nodes in found.nodes]


@pytest.mark.parametrize("model", MODELS)
def test_every_node_is_in_one_unit_or_carried(model):
    graph, found = gathered(model())
    nodes = [index for each in found.nodes for index in each]
    assert sorted([*nodes, *(node.index for node in graph.nodes if node.carried)]) == list(range(len(graph.nodes)))


@pytest.mark.parametrize("model", MODELS)
def test_units_stand_in_an_order_in_which_makers_come_first(model):
    _, found = gathered(model())
    for value in found.work.passing:
        assert all(user > value.maker for user in value.users)


def test_bias_activation_and_normalisation_join_what_they_work_on():
    graph, found = gathered(sharded_models.branches())
    assert kinds(graph, found)[:3] == [["Conv", "BatchNormalization", "Relu"]] * 3


def test_what_two_nodes_want_is_between_units():
    _, found = gathered(sharded_models.several_outputs())
    (early,) = (value for value in found.work.passing if value.name == "early")
    assert early.leaves
    assert len(early.users) == 2


def test_quantised_convolutions_end_with_their_quantisation():
    graph, found = gathered(sharded_models.quantised())
    assert kinds(graph, found)[1:3] == [["Conv", "Relu", "QuantizeLinear"], ["Add", "QuantizeLinear"]]


def test_no_cut_of_a_quantised_model_lets_floats_through(source):
    """Nor does one part what the runtime computes in integers."""
    read = source(sharded_models.quantised())
    graph = read.graph
    values = concrete(graph, Sizes(3))
    passing = units(graph, values, {"cpu": costs.seconds(graph, values, costs.CPU)}).work.passing
    inner = [value for value in passing if value.maker >= 0 and value.users]
    assert {values[value.name].element for value in inner} == {2}  # UINT8
    plan = make_plan(read, Wish(on(4), 4, Sizes(3)))
    assert all(values[name].element == 2 for stage in plan.stages[1:] for name in stage.ends.takes)


def test_values_that_are_no_tensors_do_not_cross():
    _, found = gathered(sharded_models.sequences())
    kept = [value for value in found.work.passing if not value.may_cross]
    assert [(value.name, len(value.users)) for value in kept] == [("n2", 1)]
    cut = place(found.work, on(len(found.work)), len(found.work))
    assert cut is None
    cut = place(found.work, on(len(found.work)), len(found.work) - 1)
    assert not any(run.first == kept[0].users[0] for run in cut.runs)


def test_what_is_made_of_weights_counts_where_it_is_used_and_they_do_not():
    _, found = gathered(sharded_models.tied())
    sizes = {weight.name: weight for weight in found.work.weights}
    table, transposed = sizes["w0"], next(weight for name, weight in sizes.items() if name.startswith("n"))
    assert table.bytes == transposed.bytes == 50 * 32 * 4
    assert (table.users, transposed.users) == ((table.users[0],), (len(found.work) - 1,))


def test_integers_count_and_the_floats_that_are_made_of_them_do_not():
    _, found = gathered(sharded_models.quantised(layers=1))
    by_bytes = {weight.bytes for weight in found.work.weights}
    assert 8 * 8 * 3 * 3 in by_bytes
    assert 8 * 8 * 3 * 3 * 4 not in by_bytes


def test_weights_inside_subgraphs_are_their_nodes():
    graph, found = gathered(sharded_models.control_flow())
    (inside,) = (weight for weight in found.work.weights if weight.name.startswith("inside"))
    assert inside.bytes == 32 * 32 * 4
    assert kinds(graph, found)[inside.users[0]] == ["If"]


def test_scratch_is_what_a_unit_makes_for_itself():
    graph, found = gathered(sharded_models.branches())
    assert found.work.scratch[0] == 2 * 3 * 16 * 12 * 12 * 4  # of convolution and normalisation, not of Relu
    assert graph.nodes[found.nodes[0][0]].kind == "Conv"


def alive(work):
    """Bytes that cross each place, in this order of units."""
    return np.asarray(
        [
            sum(value.bytes for value in work.passing if 0 <= value.maker < at <= max(value.users, default=-1))
            for at in range(1, len(work))
        ]
    )


@pytest.mark.parametrize("model", MODELS)
def test_orders_are_topological_and_each_comes_once(model):
    work = gathered(model())[1].work
    found = list(orders(work))
    assert found[0] == list(range(len(work)))
    for order in found:
        assert sorted(order) == list(range(len(work)))
        for value in work.ordered(order).passing:
            assert all(user > value.maker for user in value.users)
    assert len({tuple(order) for order in found}) == len(found)


def test_branches_are_finished_one_by_one_whatever_the_order_of_the_file():
    """A file that runs its branches side by side, which keeps one value of each alive."""
    proto, lanes = ModelProto.FromString(sharded_models.layers(count=1)), 6
    graph = sharded_models.Graph()
    at = [graph.node("Tanh", "x") for _ in range(lanes)]
    for _ in range(5):
        at = [graph.node("Softmax", each) for each in at]
    small = [graph.node("ReduceMean", each, axes=[1]) for each in at]
    graph.node("Sum", *small, output="y")
    work = gathered(graph.model(list(proto.graph.input), list(proto.graph.output)))[1].work
    as_it_is, *others = (int(alive(work.ordered(order)).max()) for order in orders(work))
    assert as_it_is >= lanes * 3 * 32 * 4
    assert min(others) < as_it_is / 3
