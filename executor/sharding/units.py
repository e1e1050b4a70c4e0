"""The nodes of a graph, gathered into units that are never cut, and what passes between them.

Receives a graph, its values' sizes and its nodes' seconds, hands `Work` to `plan` and each unit's nodes to `cut`. A
node joins the unit of its maker where a cut before it could only lose:

- QuantizeLinear with a fixed scale: the quantised tensor is what should cross. DequantizeLinear is carried anyhow
  (`graph.py`), so what the runtime computes in integers stays together.
- What works element by element on one value that nobody else wants (a bias, an activation, a normalisation by fixed
  numbers), or only moves its elements: a cut after it lets as much through, and the runtime may fuse it into its maker.

In both cases all that the node takes from others is its maker's, so units make no circles.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from executor.sharding.graph import Graph, Node
from executor.sharding.shapes import Value
from executor.sharding.work import Passing, Weight, Work

_AS_MANY = {
    *("Add", "Sub", "Mul", "Div", "Pow", "Sqrt", "Neg", "Abs", "Exp", "Log", "Reciprocal", "Min", "Max", "Clip"),
    *("Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Celu", "ThresholdedRelu", "Sigmoid", "HardSigmoid", "HardSwish"),
    *("Tanh", "Erf", "Gelu", "FastGelu", "QuickGelu", "BiasGelu", "Mish", "Softplus", "Softsign", "Swish"),
    *("Cast", "BatchNormalization", "Identity", "Dropout"),
    *("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"),
}
"""What makes as many elements as it takes."""


@dataclass(frozen=True)
class Units:
    """`work`, and of which nodes its units consist (ascending; carried ones are not among them)."""

    work: Work
    nodes: Sequence[Sequence[int]]


def units(graph: Graph, values: Mapping[str, Value], seconds: Mapping[str, Sequence[float]]) -> Units:
    """Gather the nodes. `seconds`: kind of device -> of each node of the graph."""
    taken = {node.index: set(graph.taken(node)) for node in graph.nodes if not node.carried}
    users = defaultdict(set)
    for index, names in taken.items():
        for name in names - graph.constant:
            users[name].add(index)
    unit_of: dict[int, int] = {}
    members: list[list[int]] = []
    for index, takes in taken.items():
        joined = _joins(graph, graph.nodes[index], takes - graph.constant, users)
        unit_of[index] = unit_of[joined] if joined is not None else len(members)
        if joined is None:
            members.append([])
        members[unit_of[index]].append(index)
    passing = list(_passing(graph, values, users, unit_of))
    inside = set(users) - {value.name for value in passing}
    work = Work(
        [graph.nodes[nodes[0]].name for nodes in members],
        {kind: [sum(_seconds(graph, nodes, each)) for nodes in members] for kind, each in seconds.items()},
        [_scratch(graph, nodes, values, users, inside) for nodes in members],
        passing,
        list(_weights(graph, values, unit_of)),
    )
    return Units(work, members)


def _joins(graph: Graph, node: Node, takes: set[str], users: Mapping[str, set[int]]) -> int | None:
    """The node whose unit this one joins, None if it begins one."""
    if len(takes) != 1:
        return None
    (value,) = takes
    maker = graph.maker.get(value)
    if maker is None:
        return None
    if node.kind in ("QuantizeLinear", "DequantizeLinear"):
        return maker.index
    return maker.index if node.kind in _AS_MANY and users[value] == {node.index} else None


def _passing(
    graph: Graph, values: Mapping[str, Value], users: Mapping[str, set[int]], unit_of: Mapping[int, int]
) -> Iterable[Passing]:
    for name in (*graph.inputs, *(name for index in unit_of for name in graph.nodes[index].makes)):
        maker = unit_of[graph.maker[name].index] if name in graph.maker else -1
        others = {unit_of[user] for user in users[name]} - {maker}
        leaves = maker >= 0 and name in graph.outputs
        if others or leaves or maker < 0:
            may_cross = values[name].element != 0
            yield Passing(name, values[name].bytes, maker, tuple(sorted(others)), leaves, may_cross)


def _weights(graph: Graph, values: Mapping[str, Value], unit_of: Mapping[int, int]) -> Iterable[Weight]:
    """Those that stay in memory: of the file, or made of them at load, when what they are made of is let go."""
    needed = defaultdict(set)
    for index, unit in unit_of.items():
        node = graph.nodes[index]
        lasting = (node, *(each for each in graph.carried_by(node.uses) if each.kind == _DEQUANTIZE))
        for name in {name for each in lasting for name in each.uses} & graph.constant:
            if name in graph.weights:
                needed[name, graph.weights[name]].add(unit)
            elif graph.maker[name].kind != _DEQUANTIZE:
                needed[name, values[name].bytes].add(unit)
        if node.inner_bytes:
            needed[f"inside {node.name}", node.inner_bytes].add(unit)
    for (name, size), at in sorted(needed.items()):
        yield Weight(name, size, tuple(sorted(at)))


_DEQUANTIZE = "DequantizeLinear"
"""Not folded at load. Where the runtime does not compute with the integers, it makes floats of them in each run."""


def _seconds(graph: Graph, nodes: Iterable[int], seconds: Sequence[float]) -> Iterable[float]:
    carried = {each.index for index in nodes for each in graph.carried_by(graph.nodes[index].uses)}
    return (seconds[index] for index in (*nodes, *carried))


def _scratch(
    graph: Graph, nodes: Sequence[int], values: Mapping[str, Value], users: Mapping[str, set[int]], inside: set[str]
) -> int:
    """What a unit's own values and the carried nodes beside it take at the same time, at most."""
    most = 0
    for index in nodes:
        held = sum(
            values[name].bytes
            for each in nodes
            if each <= index
            for name in graph.nodes[each].makes
            if name not in graph.outputs and (each == index or any(user >= index for user in users[name] & set(nodes)))
            if name in inside or not users[name]
        )
        beside = graph.carried_by(graph.nodes[index].uses)
        carried = sum(
            values[name].bytes
            for each in beside
            for name in each.makes
            if each.kind == _DEQUANTIZE or name not in graph.constant
        )
        most = max(most, held + carried)
    return most
