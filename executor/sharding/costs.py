"""What each node costs: an estimate of its seconds from the work that its kind is known to do.

Receives a graph and the sizes of its values, hands seconds per node to `units`. A node takes the longer of its
arithmetic and its memory traffic, and a fixed time besides:

    seconds = max(FLOPs / flops_per_s, values / bytes_per_s + weights / weight_bytes_per_s) + node_s

FLOPs are counted for products (MatMul, Gemm, Conv, attention, recurrent layers and their quantised kin), everything
else moves its bytes. Pure. What a loop does as often as its data say counts once unless its count is a constant:
there a measured profile knows more (`profile.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from onnx import AttributeProto, NodeProto, TensorProto, numpy_helper

from executor.providers import ON_THE_CPU
from executor.sharding.graph import Graph, bits, subgraphs
from executor.sharding.shapes import Value


@dataclass(frozen=True, slots=True)
class Speed:
    """Of one device. For where a graph is cut only ratios matter; a profile replaces all but the link."""

    flops_per_s: float
    """In 32 bits; narrower types are faster by `narrow`."""
    bytes_per_s: float
    """Of values, which are often still in a cache."""
    weight_bytes_per_s: float
    """Of weights, which come from memory in every run."""
    convolution: float
    """Share of `flops_per_s` that convolutions reach."""
    node_s: float
    """What a node takes that does nothing."""
    link_bytes_per_s: float
    """From a stage's device to the next stage's, through the host's memory."""
    link_s: float
    """What a transfer takes that moves nothing."""
    narrow: Mapping[int, float]
    """Bits of an element -> how many times as fast its arithmetic is."""


CPU = Speed(60e9, 12e9, 6e9, 0.6, 3e-6, 6e9, 20e-6, {16: 0.5, 8: 2.5})
CUDA = Speed(40e12, 1.5e12, 1.5e12, 0.6, 6e-6, 12e9, 30e-6, {16: 8.0, 8: 8.0})
"""Two cores with AVX-512, held against profiles of twelve models (docs/sharding.md); a data centre's GPU over PCIe 4,
from data sheets."""


def speed(kind: str) -> Speed:
    """Of devices of this kind: the CPU's, or that of accelerators."""
    return CPU if kind == ON_THE_CPU else CUDA


Seen = Mapping[str, Value]
Count = Callable[[NodeProto, Sequence[Value | None], Sequence[Value | None]], float]
"""(node, what it takes, what it makes) -> FLOPs."""

_GROUPED = 0.4
"""Of what a convolution reaches, what one in groups does."""
_VIEWS = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Shape", "Size", "Constant", "Dropout"}
"""Move nothing: what they make is what they take, or a few numbers."""
_INTEGER = {"ConvInteger", "MatMulInteger", "QGemm", "QAttention", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"}
_SELECT = {"Gather", "GatherElements", "GatherND", "Slice", "Split", "EmbedLayerNormalization"}
"""Read as much as they make, not all of what they take."""


def seconds(graph: Graph, values: Seen, speed: Speed) -> list[float]:
    """Of each node on a device of this speed. Nodes that make constants run once, at load: 0."""
    counts = dict(_counts(graph))

    def one(proto: NodeProto) -> float:
        """Of a branch the slower one, of a loop each round that is known."""
        takes, makes = ([values.get(name) if name else None for name in names] for names in (proto.input, proto.output))
        inner = [sum(map(one, inside.node)) for inside in subgraphs(proto)]
        if inner:
            return speed.node_s + max(inner) * _rounds(proto, takes, counts)
        fixed = sum(values[name].bytes for name in proto.input if name in graph.constant)
        return speed.node_s + max(_arithmetic(proto, takes, makes, speed), _moving(proto, takes, makes, fixed, speed))

    return [
        0.0 if graph.constant.issuperset(node.makes) else one(proto)
        for node, proto in zip(graph.nodes, graph.model.graph.node, strict=True)
    ]


def _arithmetic(proto: NodeProto, takes: Sequence[Value | None], makes: Sequence[Value | None], speed: Speed) -> float:
    count = _FLOPS.get(proto.op_type)
    if count is None:
        return 0.0
    quantised = proto.op_type.startswith("QLinear") or proto.op_type in _INTEGER
    widest = max((bits(value.element) for value in takes if value and value.element), default=32)
    group = _attribute(proto, "group")
    reached = speed.convolution * (1.0 if group is None or group.i == 1 else _GROUPED) if count is _convolution else 1.0
    return count(proto, takes, makes) / (
        speed.flops_per_s * speed.narrow.get(8 if quantised else widest, 1.0) * reached
    )


def _moving(
    proto: NodeProto, takes: Sequence[Value | None], makes: Sequence[Value | None], fixed: int, speed: Speed
) -> float:
    """`fixed`: bytes of weights among what it takes."""
    if proto.op_type in _VIEWS:
        return 0.0
    made = sum(value.bytes for value in makes if value)
    if proto.op_type in _SELECT:
        return 2 * made / speed.bytes_per_s
    taken = sum(value.bytes for value in takes if value) - fixed
    window = _attribute(proto, "kernel_shape")
    if window is not None and proto.op_type.endswith("Pool"):
        taken = made * math.prod(window.ints)
    return (taken + made) / speed.bytes_per_s + fixed / speed.weight_bytes_per_s


def _counts(graph: Graph) -> Iterator[tuple[str, int]]:
    """Constants that may be the number of rounds of a loop."""
    tensors = [*graph.model.graph.initializer]
    for node in graph.model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            tensors.append(TensorProto())
            tensors[-1].CopyFrom(node.attribute[0].t)
            tensors[-1].name = node.output[0]
    for tensor in tensors:
        if tensor.data_type == TensorProto.INT64 and math.prod(tensor.dims) == 1:
            yield tensor.name, int(numpy_helper.to_array(tensor).reshape(-1)[0])


def _rounds(proto: NodeProto, takes: Sequence[Value | None], counts: Mapping[str, int]) -> int:
    if proto.op_type == "Loop":
        return counts.get(proto.input[0], 1)
    if proto.op_type == "Scan":  # along the first axis of what it scans, which comes last
        return max(1, *_shape(takes, len(takes) - 1)[:1], 1)
    return 1


def _shape(values: Sequence[Value | None], index: int) -> tuple[int, ...]:
    """Of one of these; () if it is not there or not known."""
    value = values[index] if index < len(values) else None
    return value.shape or () if value else ()


def _attribute(proto: NodeProto, name: str) -> AttributeProto | None:
    return next((attribute for attribute in proto.attribute if attribute.name == name), None)


def _elements(values: Sequence[Value | None], index: int = 0) -> int:
    value = values[index] if index < len(values) else None
    return value.elements if value else 0


def _product(proto: NodeProto, takes: Sequence[Value | None], makes: Sequence[Value | None]) -> float:
    """2 for each element of the result and of the axis that is summed over."""
    transposed = _attribute(proto, "transA")
    shape = _shape(takes, 0)
    if not shape:
        return 0.0
    summed = shape[-2] if transposed is not None and transposed.i and len(shape) > 1 else shape[-1]
    return 2.0 * _elements(makes) * summed


def _convolution(proto: NodeProto, takes: Sequence[Value | None], makes: Sequence[Value | None]) -> float:
    """Filters are [made channels, taken channels of a group, sides...]."""
    filters = _shape(takes, 3 if proto.op_type == "QLinearConv" else 1)
    per_element = math.prod(filters[1:])
    elements = _elements(takes) if proto.op_type == "ConvTranspose" else _elements(makes)
    return 2.0 * elements * per_element


def _recurrent(proto: NodeProto, takes: Sequence[Value | None], makes: Sequence[Value | None]) -> float:
    """W and R are [directions, gates, width]: each step and row multiplies with all of them."""
    shape = _shape(takes, 0)
    return 2.0 * math.prod(shape[:2]) * (_elements(takes, 1) + _elements(takes, 2))


def _attention(proto: NodeProto, takes: Sequence[Value | None], makes: Sequence[Value | None]) -> float:
    """Queries by keys and scores by values, and the projections where the node has their weights."""
    query, second = _shape(takes, 0), _shape(takes, 1)
    if len(query) < 3 or not second:
        return 0.0
    if (proto.op_type == "Attention" and proto.domain == "com.microsoft") or proto.op_type == "QAttention":
        rows, length, _ = query
        width = second[-1] / 3
        return 2.0 * rows * length * math.prod(second) + 4.0 * rows * length * length * width
    keys = second[-2]
    return 4.0 * math.prod(query) * keys


def _einsum(proto: NodeProto, takes: Sequence[Value | None], makes: Sequence[Value | None]) -> float:
    """2 for each element of the space that all letters span."""
    equation = _attribute(proto, "equation")
    terms = equation.s.decode().replace(" ", "").split("->")[0].split(",") if equation is not None else []
    lengths: dict[str, int] = {}
    for term, value in zip(terms, takes, strict=False):
        shape = value.shape or () if value else ()
        lengths.update(zip(term.replace(".", ""), shape[-len(term.replace(".", "")) :], strict=False))
    return 2.0 * math.prod(lengths.values()) if lengths else 0.0


def _local_response(proto: NodeProto, takes: Sequence[Value | None], makes: Sequence[Value | None]) -> float:
    """A power for each element: 70 ns."""
    return 4000.0 * _elements(makes)


_FLOPS: dict[str, Count] = {
    **dict.fromkeys(
        (
            *("MatMul", "Gemm", "QLinearMatMul", "MatMulInteger", "QGemm", "FusedMatMul", "FusedGemm", "MatMulNBits"),
            *("DynamicQuantizeMatMul", "MatMulIntegerToFloat", "GemmFastGelu", "GemmFloat8"),
        ),
        _product,
    ),
    **dict.fromkeys(("Conv", "QLinearConv", "ConvInteger", "FusedConv", "NhwcConv", "ConvTranspose"), _convolution),
    **dict.fromkeys(("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"), _recurrent),
    **dict.fromkeys(("Attention", "QAttention", "MultiHeadAttention", "GroupQueryAttention"), _attention),
    "Einsum": _einsum,
    "LRN": _local_response,
}
