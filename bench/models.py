"""Models to measure with, of random weights: what they answer does not matter, what they cost does."""

import itertools

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

TOKENS = 32


class Graph:
    """Nodes and weights, collected by name."""

    def __init__(self, seed=0):
        self._rng = np.random.default_rng(seed)
        self._nodes, self._weights = [], []

    def normal(self, *shape):
        return self._rng.standard_normal(shape).astype("f4")

    def weight(self, *shape):
        return self.constant(self.normal(*shape) / np.sqrt(shape[0], dtype="f4"))

    def constant(self, array):
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(self, kind, *inputs, output=None, **attributes):
        output = output or f"n{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def save(self, path, inputs, y):
        graph = helper.make_graph(self._nodes, path.parent.parent.name, inputs, [y], self._weights)
        path.parent.mkdir(parents=True)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def floats(name, *shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def mlp(path, *widths):
    """Layers of these widths, Relu between them: x FP32 [batch, first] -> y FP32 [batch, last]."""
    graph, at = Graph(), "x"
    for index, (given, made) in enumerate(itertools.pairwise(widths)):
        last = index == len(widths) - 2
        at = graph.node("Gemm", at, graph.weight(given, made), graph.weight(made), output="y" if last else None)
        at = at if last else graph.node("Relu", at)
    graph.save(path, [floats("x", "batch", widths[0])], floats("y", "batch", widths[-1]))


def encoder(path, width=256, layers=2, heads=4, vocabulary=1000, tokens=TOKENS, masked=False):
    """A small transformer: x INT64 [batch, tokens] -> y FP32 [batch, 8]. A name for `tokens` leaves the length free.

    `masked`: it also takes attention_mask INT64 [batch, tokens]; where that is 0 there is nothing.
    """
    graph = Graph()
    heads_of = graph.constant(np.array([0, 0, heads, width // heads]))  # 0: as it comes
    joined = graph.constant(np.array([0, 0, width]))
    scale = graph.constant(np.float32((width // heads) ** -0.5))
    ones, zeros = graph.constant(np.ones(width, "f4")), graph.constant(np.zeros(width, "f4"))
    if masked:
        there = graph.node("Cast", "attention_mask", to=TensorProto.FLOAT)
        hidden = graph.node(
            "Mul", graph.node("Sub", there, graph.constant(np.float32(1))), graph.constant(np.float32(1e9))
        )
        hidden = graph.node("Unsqueeze", hidden, graph.constant(np.array([1, 2])))

    def norm(at):
        return graph.node("LayerNormalization", at, ones, zeros, axis=-1)

    def split(at, *order):
        return graph.node("Transpose", graph.node("Reshape", at, heads_of), perm=order)

    at = graph.node("Gather", graph.weight(vocabulary, width), "x")
    for _ in range(layers):
        query, key, value = (graph.node("MatMul", at, graph.weight(width, width)) for _ in range(3))
        scores = graph.node("Mul", graph.node("MatMul", split(query, 0, 2, 1, 3), split(key, 0, 2, 3, 1)), scale)
        scores = graph.node("Add", scores, hidden) if masked else scores
        mixed = graph.node("MatMul", graph.node("Softmax", scores, axis=-1), split(value, 0, 2, 1, 3))
        mixed = graph.node("Reshape", graph.node("Transpose", mixed, perm=[0, 2, 1, 3]), joined)
        at = norm(graph.node("Add", at, graph.node("MatMul", mixed, graph.weight(width, width))))
        wide = graph.node("Relu", graph.node("MatMul", at, graph.weight(width, 4 * width)))
        at = norm(graph.node("Add", at, graph.node("MatMul", wide, graph.weight(4 * width, width))))
    if masked:
        each = graph.node("Unsqueeze", there, graph.constant(np.array([2])))
        summed = graph.node("ReduceSum", graph.node("Mul", at, each), graph.constant(np.array([1])), keepdims=0)
        mean = graph.node("Div", summed, graph.node("ReduceSum", each, graph.constant(np.array([1])), keepdims=0))
    else:
        mean = graph.node("ReduceMean", at, axes=[1], keepdims=0)
    graph.node("MatMul", mean, graph.weight(width, 8), output="y")
    names = ("x", "attention_mask") if masked else ("x",)
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", tokens]) for name in names]
    graph.save(path, inputs, floats("y", "batch", 8))


def convolutions(path, *widths):
    """Residual blocks of these widths, each at half the side of the one before, for images: x FP32 [batch, 3, 32, 32]
    -> y FP32 [batch, 10]."""
    graph = Graph()

    def convolve(at, given, made, side=3, stride=1):
        filters = graph.constant(graph.normal(made, given, side, side) / np.sqrt(given * side * side, dtype="f4"))
        return graph.node("Conv", at, filters, pads=[side // 2] * 4, strides=[stride] * 2)

    at, given = graph.node("Relu", convolve("x", 3, widths[0])), widths[0]
    for index, width in enumerate(widths):
        stride = 2 if index else 1
        inner = convolve(graph.node("Relu", convolve(at, given, width, stride=stride)), width, width)
        at = graph.node("Relu", graph.node("Add", inner, convolve(at, given, width, side=1, stride=stride)))
        given = width
    pooled = graph.node("Flatten", graph.node("GlobalAveragePool", at))
    graph.node("MatMul", pooled, graph.weight(given, 10), output="y")
    graph.save(path, [floats("x", "batch", 3, 32, 32)], floats("y", "batch", 10))
