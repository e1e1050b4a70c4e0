"""Tiny ONNX models for tests, built on the spot. Each function returns a serialised ModelProto.

`save(model, repository, name, version)` puts one where a repository wants it. Weights are seeded: the same model is the
same bytes. Opset 17 with IR 8, which every supported ONNX Runtime reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

OPSET, IR = 17, 8

ONNX_TYPES: dict[str, int] = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BF16": TensorProto.BFLOAT16,
    "BYTES": TensorProto.STRING,
}
"""V2 datatype name -> ONNX element type."""


def tensor(name: str, datatype: str = "FP32", shape: Sequence[int | str | None] | None = ("n",)) -> ValueInfoProto:
    """A graph input or output. A string is a named free dimension, None an unnamed one; shape None: unknown rank."""
    return helper.make_tensor_value_info(name, ONNX_TYPES[datatype], shape)


def constant(name: str, values: Any, dtype: Any = np.float32) -> TensorProto:
    """An initialiser."""
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def model(
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    constants: Sequence[TensorProto] = (),
    opset: int = OPSET,
    ir: int = IR,
) -> bytes:
    """Any graph of standard operators."""
    graph = helper.make_graph(list(nodes), "test", list(inputs), list(outputs), list(constants))
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)
    return bytes(proto.SerializeToString(deterministic=True))


def one_node(
    operator: str,
    inputs: Sequence[ValueInfoProto],
    output: ValueInfoProto,
    constants: Sequence[TensorProto] = (),
    **attributes: Any,
) -> bytes:
    """A graph of one node that takes the inputs, then the constants, in order."""
    names = [each.name for each in (*inputs, *constants)]
    return model([helper.make_node(operator, names, [output.name], **attributes)], inputs, [output], constants)


def save(serialised: bytes, repository: Path, name: str = "m", version: int = 1) -> Path:
    """Write the model to `repository`/`name`/`version`/model.onnx and return that path."""
    path = repository / name / str(version) / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(serialised)
    return path


def mlp(features: int = 64, hidden: int = 64, classes: int = 8, batch: int | str | None = "batch") -> bytes:
    """x FP32 [batch, features] -> y FP32 [batch, classes]; two layers with a ReLU between."""
    rng = np.random.default_rng(1)
    return model(
        [
            helper.make_node("MatMul", ["x", "w1"], ["a"]),
            helper.make_node("Relu", ["a"], ["b"]),
            helper.make_node("MatMul", ["b", "w2"], ["y"]),
        ],
        [tensor("x", "FP32", (batch, features))],
        [tensor("y", "FP32", (batch, classes))],
        [constant("w1", rng.normal(size=(features, hidden))), constant("w2", rng.normal(size=(hidden, classes)))],
    )


def identity(datatype: str = "FP32", shape: Sequence[int | str | None] | None = ("n",), opset: int = OPSET) -> bytes:
    """x -> y = x, of any V2 datatype. BF16 needs opset 13."""
    node = helper.make_node("Identity", ["x"], ["y"])
    return model([node], [tensor("x", datatype, shape)], [tensor("y", datatype, shape)], opset=opset)


def fixed_batch(rows: int = 1, features: int = 4) -> bytes:
    """x FP32 [rows, features] -> y = x + 1: a model whose first axis is not free."""
    shape = (rows, features)
    return one_node("Add", [tensor("x", "FP32", shape)], tensor("y", "FP32", shape), constants=[constant("c", 1.0)])


def scalar() -> bytes:
    """x FP32 [] -> y = x + 1 []."""
    return one_node("Add", [tensor("x", "FP32", ())], tensor("y", "FP32", ()), constants=[constant("c", 1.0)])


def cumsum_axis0(datatype: str = "FP32", shape: Sequence[int | str] = ("n", 3)) -> bytes:
    """x -> y, running sums along axis 0: rows that depend on the rows before them."""
    axis = constant("axis", 0, np.int64)
    return one_node("CumSum", [tensor("x", datatype, shape)], tensor("y", datatype, shape), constants=[axis])


def attention_axis0(width: int = 4) -> bytes:
    """x FP32 [sequence, width] -> softmax(x x') x: a sequence where the batch axis would be."""
    shape = ("sequence", width)
    return model(
        [
            helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0]),
            helper.make_node("MatMul", ["x", "t"], ["scores"]),
            helper.make_node("Softmax", ["scores"], ["weights"], axis=1),
            helper.make_node("MatMul", ["weights", "x"], ["y"]),
        ],
        [tensor("x", "FP32", shape)],
        [tensor("y", "FP32", shape)],
    )


def mean_over_batch(features: int = 4) -> bytes:
    """x FP32 [n, features] -> x minus its mean over axis 0, as batch normalisation does in training."""
    shape = ("n", features)
    return model(
        [
            helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
            helper.make_node("Sub", ["x", "mean"], ["y"]),
        ],
        [tensor("x", "FP32", shape)],
        [tensor("y", "FP32", shape)],
    )


def total() -> bytes:
    """x FP32 [n, 2] -> y FP32 [m, 2], the sum of all rows as one row: the number of rows is not kept."""
    axes = constant("axes", [0], np.int64)
    y = tensor("y", "FP32", ("m", 2))
    return one_node("ReduceSum", [tensor("x", "FP32", ("n", 2))], y, constants=[axes], keepdims=1)


def random_noise(features: int = 4) -> bytes:
    """x FP32 [n, features] -> noise [n, features], and copy = x: one output that no two runs share."""
    shape = ("n", features)
    return model(
        [helper.make_node("RandomNormalLike", ["x"], ["noise"]), helper.make_node("Identity", ["x"], ["copy"])],
        [tensor("x", "FP32", shape)],
        [tensor("noise", "FP32", shape), tensor("copy", "FP32", shape)],
    )


def gather(entries: int = 4, width: int = 3) -> bytes:
    """ids INT64 [n, k] -> y FP32 [n, k, width], rows of a table; an id out of range is the client's mistake."""
    table = constant("table", np.arange(entries * width).reshape(entries, width))
    node = helper.make_node("Gather", ["table", "ids"], ["y"])
    return model([node], [tensor("ids", "INT64", ("n", "k"))], [tensor("y", "FP32", ("n", "k", width))], [table])


def two_inputs(first: Sequence[int | str] = ("n", 4), second: Sequence[int | str] = ("n", 4)) -> bytes:
    """a, b FP32 -> sum = a + b and product = a * b. Shapes that do not broadcast fail inside the graph."""
    return model(
        [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Mul", ["a", "b"], ["product"])],
        [tensor("a", "FP32", first), tensor("b", "FP32", second)],
        [tensor("sum", "FP32", first), tensor("product", "FP32", first)],
    )


def two_inputs_with_default(default: float = 5.0, ir: int = IR) -> bytes:
    """x FP32 [n, 2], offset FP32 [1] (optional, `default`) -> y = x + offset. With IR 3, offset is not overridable."""
    return model(
        [helper.make_node("Add", ["x", "offset"], ["y"])],
        [tensor("x", "FP32", ("n", 2)), tensor("offset", "FP32", (1,))],
        [tensor("y", "FP32", ("n", 2))],
        [constant("offset", [default])],
        opset=8 if ir < 4 else OPSET,
        ir=ir,
    )


def convolution(kernel: int = 7) -> bytes:
    """image FP32 [n, 1, height, width] -> y FP32 [n, 1, out_height, out_width]: fails on images below the kernel."""
    weights = constant("weights", np.ones((1, 1, kernel, kernel)))
    image = tensor("image", "FP32", ("n", 1, "height", "width"))
    return one_node("Conv", [image], tensor("y", "FP32", ("n", 1, "out_height", "out_width")), constants=[weights])


def sequence_output() -> bytes:
    """x FP32 [n] -> y, a sequence of tensors, which V2 cannot carry."""
    output = helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)
    return model([helper.make_node("SequenceConstruct", ["x"], ["y"])], [tensor("x")], [output])


def text_that_is_not_utf8() -> bytes:
    """x BYTES [n] -> y BYTES: x followed by an element that no decoder accepts."""
    broken = helper.make_tensor("broken", TensorProto.STRING, [1], [b"\xff\xfe"])
    x, y = tensor("x", "BYTES"), tensor("y", "BYTES", ("m",))
    return model([helper.make_node("Concat", ["x", "broken"], ["y"], axis=0)], [x], [y], [broken])


def bfloat16_sum() -> bytes:
    """x BF16 [n, 3] -> y BF16 (a copy) and z FP32 (cast): BF16 in, BF16 and something else out."""
    shape = ("n", 3)
    return model(
        [
            helper.make_node("Identity", ["x"], ["y"]),
            helper.make_node("Cast", ["x"], ["z"], to=TensorProto.FLOAT),
        ],
        [tensor("x", "BF16", shape)],
        [tensor("y", "BF16", shape), tensor("z", "FP32", shape)],
    )


def unknown_ranks() -> bytes:
    """x FP32 of any rank -> y = x + 1: the file gives neither a shape."""
    return one_node("Add", [tensor("x", shape=None)], tensor("y", shape=None), constants=[constant("c", 1.0)])


def slow(layers: int = 40, width: int = 512) -> bytes:
    """x FP32 [n, width] -> y: some milliseconds a run, so that it belongs in a thread."""
    rng = np.random.default_rng(2)
    nodes = [helper.make_node("MatMul", [f"h{i}", f"w{i % 2}"], [f"h{i + 1}"]) for i in range(layers)]
    weights = [constant(f"w{i}", rng.normal(size=(width, width)) / width**0.5) for i in range(2)]
    shape = ("n", width)
    return model(nodes, [tensor("h0", "FP32", shape)], [tensor(f"h{layers}", "FP32", shape)], weights)


def counted_loop(trips: str, end: str, width: int) -> tuple[list[NodeProto], list[TensorProto]]:
    """Nodes and constants that make `end`, a scalar of 0, after so many products of two matrices of `width`."""
    body = helper.make_graph(
        [helper.make_node("MatMul", ["h", "w"], ["next"]), helper.make_node("Identity", ["on"], ["still_on"])],
        "body",
        [tensor("at", "INT64", ()), tensor("on", "BOOL", ()), tensor("h", "FP32", (width, width))],
        [tensor("still_on", "BOOL", ()), tensor("next", "FP32", (width, width))],
    )
    nodes = [
        helper.make_node("Loop", [trips, "", "start"], ["product"], body=body),
        helper.make_node("ReduceSum", ["product"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "zero"], [end]),
    ]
    return nodes, [constant("start", np.eye(width)), constant("w", np.eye(width)), constant("zero", 0.0)]


def busy(width: int = 384) -> bytes:
    """x FP32 [n, 1], loops INT64 [n, 1] -> double = 2 x, half = x / 2, after as many loops as the largest of a batch.

    A loop is a product of two matrices of `width`, some milliseconds: a request says how long its batch takes.
    """
    nodes, constants = counted_loop("most", "nothing", width)
    shape = ("n", 1)
    return model(
        [
            helper.make_node("ReduceMax", ["loops"], ["most"], axes=[0, 1], keepdims=0),
            *nodes,
            helper.make_node("Add", ["x", "nothing"], ["given"]),
            helper.make_node("Mul", ["given", "two"], ["double"]),
            helper.make_node("Div", ["given", "two"], ["half"]),
        ],
        [tensor("x", "FP32", shape), tensor("loops", "INT64", shape)],
        [tensor("double", "FP32", shape), tensor("half", "FP32", shape)],
        [constant("two", 2.0), *constants],
    )


def slowed(serialised: bytes, loops: int = 4, width: int = 384) -> bytes:
    """A model whose first output is FP32, some milliseconds slower: requests meet while it runs."""
    proto = ModelProto.FromString(serialised)
    (output, *_) = proto.graph.output
    for node in proto.graph.node:
        node.output[:] = ["at once" if name == output.name else name for name in node.output]
    nodes, constants = counted_loop("loops", "brake", width)
    proto.graph.node.extend([*nodes, helper.make_node("Add", ["at once", "brake"], [output.name])])
    proto.graph.initializer.extend([*constants, constant("loops", loops, np.int64)])
    return bytes(proto.SerializeToString(deterministic=True))


def sieve(least: float = -1e6) -> bytes:
    """x FP32 [n, 2] -> y, the rows whose first number is above `least`: too few if one is not."""
    flat = ("n", 2)
    return model(
        [
            helper.make_node("Gather", ["x", "first"], ["column"], axis=1),
            helper.make_node("Greater", ["column", "least"], ["kept"]),
            helper.make_node("Compress", ["x", "kept"], ["y"], axis=0),
        ],
        [tensor("x", "FP32", flat)],
        [tensor("y", "FP32", ("m", 2))],
        [constant("first", 0, np.int64), constant("least", least)],
    )


def hungry() -> bytes:
    """x INT64 [n, 1] -> y FP32 = x, by way of a tensor with as many elements as the largest x of the batch."""
    return model(
        [
            helper.make_node("ReduceMax", ["x"], ["most"], axes=[0], keepdims=0),
            helper.make_node("ConstantOfShape", ["most"], ["zeros"]),
            helper.make_node("ReduceSum", ["zeros"], ["nothing"], keepdims=0),
            helper.make_node("Cast", ["x"], ["number"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["number", "nothing"], ["y"]),
        ],
        [tensor("x", "INT64", ("n", 1))],
        [tensor("y", "FP32", ("n", 1))],
    )


def wide(elements: int) -> bytes:
    """x FP32 [n, 1] -> y = x, by way of a tensor of n * `elements`: memory by the row."""
    x, y = tensor("x", "FP32", ("n", 1)), tensor("y", "FP32", ("n", 1))
    return model(
        [
            helper.make_node("Expand", ["x", "shape"], ["copies"]),
            helper.make_node("ReduceMax", ["copies"], ["y"], axes=[1], keepdims=1),
        ],
        [x],
        [y],
        [constant("shape", [1, elements], np.int64)],
    )


def root() -> bytes:
    """x FP32 [n, 2] -> y, its square root: NaN where x is below zero."""
    shape = ("n", 2)
    return one_node("Sqrt", [tensor("x", "FP32", shape)], tensor("y", "FP32", shape))
