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

    def weight(self, *shape):
        return self.constant((self._rng.standard_normal(shape) / np.sqrt(shape[0])).astype("f4"))

    def constant(self, array):
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(self, kind, *inputs, output=None, **attributes):
        output = output or f"n{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def save(self, path, x, y):
        graph = helper.make_graph(self._nodes, path.parent.parent.name, [x], [y], self._weights)
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
    graph.save(path, floats("x", "batch", widths[0]), floats("y", "batch", widths[-1]))


def encoder(path, width=256, layers=2, heads=4, vocabulary=1000):
    """A small transformer over TOKENS tokens: x INT64 [batch, TOKENS] -> y FP32 [batch, 8]."""
    graph = Graph()
    heads_of = graph.constant(np.array([0, TOKENS, heads, width // heads]))
    joined = graph.constant(np.array([0, TOKENS, width]))
    scale = graph.constant(np.float32((width // heads) ** -0.5))
    ones, zeros = graph.constant(np.ones(width, "f4")), graph.constant(np.zeros(width, "f4"))

    def norm(at):
        return graph.node("LayerNormalization", at, ones, zeros, axis=-1)

    def split(at, *order):
        return graph.node("Transpose", graph.node("Reshape", at, heads_of), perm=order)

    at = graph.node("Gather", graph.weight(vocabulary, width), "x")
    for _ in range(layers):
        query, key, value = (graph.node("MatMul", at, graph.weight(width, width)) for _ in range(3))
        scores = graph.node("Mul", graph.node("MatMul", split(query, 0, 2, 1, 3), split(key, 0, 2, 3, 1)), scale)
        mixed = graph.node("MatMul", graph.node("Softmax", scores, axis=-1), split(value, 0, 2, 1, 3))
        mixed = graph.node("Reshape", graph.node("Transpose", mixed, perm=[0, 2, 1, 3]), joined)
        at = norm(graph.node("Add", at, graph.node("MatMul", mixed, graph.weight(width, width))))
        wide = graph.node("Relu", graph.node("MatMul", at, graph.weight(width, 4 * width)))
        at = norm(graph.node("Add", at, graph.node("MatMul", wide, graph.weight(4 * width, width))))
    mean = graph.node("ReduceMean", at, axes=[1], keepdims=0)
    graph.node("MatMul", mean, graph.weight(width, 8), output="y")
    x = helper.make_tensor_value_info("x", TensorProto.INT64, ["batch", TOKENS])
    graph.save(path, x, floats("y", "batch", 8))
