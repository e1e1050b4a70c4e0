"""Type and shape of every value of a graph, for batches of so many rows.

Receives a graph and sizes for its free axes, hands `Value`s to `costs`. ONNX's own inference first; for what it does
not know (operators of ONNX Runtime) the runtime is asked, in a session that is opened and not run. Invariants: 1. What
is not known is said: a value without a type never crosses a cut, one without a shape counts as its maker's largest
input. 2. `declared` has the model's own free axes, for the stages; `concrete` numbers, for the costs.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import onnx
from onnx import GraphProto, ModelProto, TypeProto, ValueInfoProto, shape_inference

from executor.sharding.graph import Graph, bits, subgraphs, tensor_bytes

Shape = tuple[int, ...]
Ask = Callable[[ModelProto], Any]
"""Opens a session on a model without weights; raises whatever the runtime raises."""

log = logging.getLogger("headrace.executor")

_ELEMENTS = {
    "float": onnx.TensorProto.FLOAT,
    "double": onnx.TensorProto.DOUBLE,
    "string": onnx.TensorProto.STRING,
    **{name.lower(): number for name, number in onnx.TensorProto.DataType.items()},
}
"""The runtime's names of element types -> ONNX's numbers."""


@dataclass(frozen=True, slots=True)
class Value:
    """What is known of one value."""

    element: int
    """ONNX's number of its type; 0: no tensor (a sequence, a map), or not known."""
    shape: Shape | None
    bytes: int

    @property
    def elements(self) -> int:
        """How many; 0 if its shape is not known."""
        return 0 if self.shape is None else math.prod(self.shape)


ROWS, FREE = 8, 128
"""Unless something else is said."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Free axes as numbers. `axes` by name first, then `rows` for a first axis and its namesakes, `free` for others."""

    rows: int = ROWS
    free: int = FREE
    axes: Mapping[str, int] = field(default_factory=dict)


def declared(graph: Graph, ask: Ask | None = None) -> dict[str, ValueInfoProto]:
    """Every value whose type is known, with the free axes of the model's inputs."""
    return _found(graph, _copy(graph.model), ask)


def concrete(graph: Graph, sizes: Sizes, ask: Ask | None = None) -> dict[str, Value]:
    """Every value and weight. Those that cannot be known without a run are guessed; `unknown` tells which."""
    model = _copy(graph.model)
    _settle(model, graph.inputs, sizes)
    values = {name: _value(info.type) for name, info in _found(graph, model, ask).items()}
    for inner in (*_inner(model.graph), model.graph):
        for tensor in inner.initializer:
            values[tensor.name] = Value(tensor.data_type, tuple(tensor.dims), tensor_bytes(tensor))
    for name, size in graph.weights.items():
        values.setdefault(name, Value(0, None, size))
    for node in graph.nodes:
        largest = max((values[name].bytes for name in node.uses if name in values), default=0)
        for name in node.makes:
            found = values.get(name, Value(0, None, 0))
            values[name] = found if found.shape is not None else Value(found.element, None, largest)
    for name in graph.inputs:
        values.setdefault(name, Value(0, None, 0))
    return values


def unknown(graph: Graph, values: Mapping[str, Value]) -> list[str]:
    """Values whose size is guessed."""
    return [name for name in graph.maker if values[name].shape is None]


def _copy(model: ModelProto) -> ModelProto:
    """Without shapes but those of the inputs: what a file says of others may be of before somebody freed an axis."""
    copy = ModelProto()
    copy.CopyFrom(model)
    for info in (*copy.graph.value_info, *copy.graph.output):
        if info.type.HasField("tensor_type"):
            info.type.tensor_type.ClearField("shape")
    return copy


def _found(graph: Graph, model: ModelProto, ask: Ask | None) -> dict[str, ValueInfoProto]:
    inferred = _inferred(model)
    missing = [name for name in graph.maker if not _is_known(inferred.get(name))]
    return {**inferred, **(_asked(model, missing, ask) if missing and ask else {})}


def _inferred(model: ModelProto) -> dict[str, ValueInfoProto]:
    try:
        model = shape_inference.infer_shapes(model, data_prop=True)
    except shape_inference.InferenceError as error:
        log.warning("shapes are not inferred: %s", error)
    return {
        info.name: info
        for graph in (*_inner(model.graph), model.graph)
        for info in (*graph.value_info, *graph.output, *graph.input)
    }


def _inner(graph: GraphProto) -> Iterator[GraphProto]:
    """The subgraphs in it, at any depth. Names are unique in all of them together."""
    for node in graph.node:
        for inner in subgraphs(node):
            yield inner
            yield from _inner(inner)


def _is_known(info: ValueInfoProto | None) -> bool:
    """That it is a tensor of a known rank, or known to be none."""
    if info is None or info.type.WhichOneof("value") is None:
        return False
    tensor = info.type.tensor_type
    return info.type.WhichOneof("value") != "tensor_type" or (tensor.elem_type != 0 and tensor.HasField("shape"))


def _asked(model: ModelProto, names: list[str], ask: Ask) -> dict[str, ValueInfoProto]:
    """What the runtime knows of these values, once they are outputs."""
    copy = ModelProto()
    copy.CopyFrom(model)
    del copy.graph.value_info[:]
    there = {info.name for info in copy.graph.output}
    copy.graph.output.extend(ValueInfoProto(name=name) for name in names if name not in there)
    try:
        outputs = ask(copy).get_outputs()
    except Exception as error:
        log.warning("types of %d values are not known, and the runtime does not say them: %s", len(names), error)
        return {}
    wanted = set(names)
    return {output.name: info for output in outputs if output.name in wanted for info in _read(output)}


def _read(output: Any) -> Iterator[ValueInfoProto]:
    found = re.fullmatch(r"tensor\((\w+)\)", output.type)
    element = _ELEMENTS.get(found[1]) if found else None
    if element is not None:
        # [] is a scalar or of unknown rank: the runtime does not tell them apart.
        yield onnx.helper.make_tensor_value_info(output.name, element, output.shape or None)
    elif found is None:
        yield ValueInfoProto(name=output.name, type=TypeProto(sequence_type=TypeProto.Sequence()))


def _settle(model: ModelProto, inputs: tuple[str, ...], sizes: Sizes) -> None:
    """Numbers instead of the inputs' free axes."""
    given = [info for info in model.graph.input if info.name in inputs]
    first = {info.type.tensor_type.shape.dim[0].dim_param for info in given if info.type.tensor_type.shape.dim} - {""}
    by_name = {**dict.fromkeys(first, sizes.rows), **sizes.axes}
    for info in given:
        for axis, dim in enumerate(info.type.tensor_type.shape.dim):
            if not dim.HasField("dim_value"):
                dim.dim_value = by_name.get(dim.dim_param, sizes.rows if axis == 0 else sizes.free)


def _value(type_: TypeProto) -> Value:
    if type_.WhichOneof("value") != "tensor_type":
        return Value(0, None, 0)
    tensor = type_.tensor_type
    dims = tensor.shape.dim
    if not tensor.HasField("shape") or not all(dim.HasField("dim_value") and dim.dim_value >= 0 for dim in dims):
        return Value(tensor.elem_type, None, 0)
    shape = tuple(dim.dim_value for dim in dims)
    return Value(tensor.elem_type, shape, -(-math.prod(shape) * bits(tensor.elem_type) // 8))
