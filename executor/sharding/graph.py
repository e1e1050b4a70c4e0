"""What a model's graph is made of, as far as cutting it is concerned: who makes a value, who uses it, what weighs.

Receives a model without its weights from `wire`, hands a `Graph` to everybody else. Invariants: 1. A node with
subgraphs (If, Loop, Scan) is one node: what they capture from outside is among its inputs. 2. What can be had from
weights alone is no value that crosses a cut: its nodes are *carried*, that is, repeated in each stage that uses them.
So are DequantizeLinear nodes: what crosses is the quantised tensor, a quarter of the size, and the runtime finds in one
stage all that it needs to compute in integers. 3. Model-local functions are replaced by their bodies.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import onnx.inliner
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

from headrace.errors import LoadFailed

STANDARD = ("", "ai.onnx")
_RANDOM = {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli"}
_WIDTHS = {
    **dict.fromkeys(("INT2", "UINT2"), 2),
    **dict.fromkeys(("INT4", "UINT4", "FLOAT4E2M1"), 4),
    **dict.fromkeys(("INT16", "UINT16", "FLOAT16", "BFLOAT16"), 16),
    **dict.fromkeys(("INT32", "UINT32", "FLOAT"), 32),
    **dict.fromkeys(("INT64", "UINT64", "DOUBLE", "COMPLEX64"), 64),
    "COMPLEX128": 128,
    "STRING": 256,  # a guess: what is in it is not known
}
_BITS = {int(number): _WIDTHS.get(name, 8) for name, number in TensorProto.DataType.items()}


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the main graph."""

    index: int
    """In the order of the file, which is topological."""
    name: str
    """Its own, or the kind and what it makes: for messages."""
    kind: str
    uses: tuple[str, ...]
    """Names that it takes, from subgraphs too, each once: values and weights."""
    makes: tuple[str, ...]
    carried: bool
    """Repeated in each stage that uses what it makes."""
    inner_bytes: int
    """Of weights within its subgraphs."""


@dataclass(frozen=True)
class Graph:
    """A model, read. Names are those of the file."""

    model: ModelProto
    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    """That have no default, in order."""
    outputs: tuple[str, ...]
    weights: Mapping[str, int]
    """Name -> bytes, of initializers, sparse ones (as they are when dense), and defaults of inputs."""

    @cached_property
    def maker(self) -> Mapping[str, Node]:
        """Value -> the node that makes it. Weights and inputs have none."""
        return {name: node for node in self.nodes for name in node.makes}

    @cached_property
    def constant(self) -> frozenset[str]:
        """Names whose value is the same in every run: weights, and what carried nodes make of weights alone."""
        return frozenset(_constant(self.nodes, self.weights))

    def carried_by(self, uses: Iterable[str]) -> Iterator[Node]:
        """The carried nodes that what uses these names brings along, each once, the last first."""
        seen, waiting = set(), list(uses)
        while waiting:
            node = self.maker.get(waiting.pop())
            if node is not None and node.carried and node.index not in seen:
                seen.add(node.index)
                waiting.extend(node.uses)
                yield node

    def taken(self, node: Node) -> Iterator[str]:
        """The values and weights that `node` takes once the carried nodes stand beside it; some may come twice."""
        for each in (node, *self.carried_by(node.uses)):
            for name in each.uses:
                if name not in self.maker or not self.maker[name].carried:
                    yield name


def read_graph(model: ModelProto) -> Graph:
    """The graph of this model.

    Raises LoadFailed where nodes are not in topological order, or use what nobody makes.
    """
    model = without_dead_nodes(inlined(model))
    graph = model.graph
    weights = {tensor.name: tensor_bytes(tensor) for tensor in graph.initializer}
    weights |= {
        sparse.values.name: math.prod(sparse.dims) * bits(sparse.values.data_type) // 8
        for sparse in graph.sparse_initializer
    }
    inputs = tuple(value.name for value in graph.input if value.name not in weights)
    outputs = {value.name for value in graph.output}
    known, carried, nodes = {*weights, *inputs}, set(weights), []
    for index, proto in enumerate(graph.node):
        uses = tuple(dict.fromkeys(_uses(proto)))
        name = proto.name or f"{proto.op_type} that makes {next(filter(None, proto.output), 'nothing')!r}"
        for used in uses:
            if used not in known:
                raise LoadFailed(f"node {name} takes {used!r}, which no node before it makes")
        makes = tuple(filter(None, proto.output))
        for made in makes:
            if made in known:
                raise LoadFailed(f"node {name} makes {made!r}, which is there already")
        from_weights = carried.issuperset(uses) and proto.domain in STANDARD and proto.op_type not in _RANDOM
        inner = any(subgraphs(proto))
        if from_weights and not inner:
            carried.update(makes)
        dequantizes = proto.op_type == "DequantizeLinear" and outputs.isdisjoint(makes)
        is_carried = (from_weights and not inner) or dequantizes
        known.update(makes)
        nodes.append(Node(index, name, proto.op_type, uses, makes, is_carried, _inner_bytes(proto) if inner else 0))
    for output in outputs - known:
        raise LoadFailed(f"no node makes the output {output!r}")
    return Graph(model, tuple(nodes), inputs, tuple(value.name for value in graph.output), weights)


def inlined(model: ModelProto) -> ModelProto:
    """The same model without functions of its own."""
    return onnx.inliner.inline_local_functions(model) if model.functions else model


def without_dead_nodes(model: ModelProto) -> ModelProto:
    """The same model without nodes that no output needs."""
    wanted, kept = {value.name for value in model.graph.output}, []
    for node in reversed(model.graph.node):
        if not wanted.isdisjoint(node.output):
            wanted.update(_uses(node))
            kept.append(node)
    if len(kept) == len(model.graph.node):
        return model
    alive = ModelProto()
    alive.CopyFrom(model)
    del alive.graph.node[:]
    alive.graph.node.extend(reversed(kept))
    return alive


def bits(data_type: int) -> int:
    """Of one element of this type, as it lies in memory."""
    return _BITS[data_type]


def tensor_bytes(tensor: TensorProto) -> int:
    """Of a tensor, wherever its data is."""
    return -(-math.prod(tensor.dims) * bits(tensor.data_type) // 8)


def tensors(proto: NodeProto) -> Iterator[TensorProto]:
    """All within this node: attributes, and what its subgraphs hold."""
    for attribute in proto.attribute:
        if attribute.type == AttributeProto.TENSOR:
            yield attribute.t
        yield from attribute.tensors
    for graph in subgraphs(proto):
        yield from graph.initializer
        for node in graph.node:
            yield from tensors(node)


def subgraphs(proto: NodeProto) -> Iterator[GraphProto]:
    """In the attributes of this node, at the first level."""
    for attribute in proto.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _constant(nodes: Iterable[Node], weights: Iterable[str]) -> set[str]:
    names = set(weights)
    for node in nodes:
        if node.carried and names.issuperset(node.uses):
            names.update(node.makes)
    return names


def _uses(proto: NodeProto) -> Iterator[str]:
    yield from filter(None, proto.input)
    for graph in subgraphs(proto):
        yield from _captured(graph)


def _captured(graph: GraphProto) -> Iterator[str]:
    """Names that a subgraph takes from around it. Names are never reused within one model, says ONNX."""
    own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    own |= {sparse.values.name for sparse in graph.sparse_initializer}
    for node in graph.node:
        yield from (name for name in _uses(node) if name not in own)
        own.update(node.output)
    yield from (value.name for value in graph.output if value.name not in own)


def _inner_bytes(proto: NodeProto) -> int:
    return sum(map(tensor_bytes, tensors(proto)))
