"""Models whose graphs are shaped in the ways that matter to cutting. Each function returns a serialised ModelProto.

Weights are seeded and, but for biases and shapes, above the size from which on they are references.
"""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, TensorProto, helper
from onnx_models import constant, model, tensor

WIDTH = 32


class Graph:
    """Nodes and weights, collected by name."""

    def __init__(self, seed=7):
        self._rng = np.random.default_rng(seed)
        self.nodes, self.weights = [], []

    def weight(self, *shape, dtype=np.float32):
        return self.constant(self._rng.normal(size=shape) / np.sqrt(shape[-1]), dtype)

    def constant(self, values, dtype=np.float32):
        name = f"w{len(self.weights)}"
        self.weights.append(constant(name, values, dtype))
        return name

    def node(self, kind, *inputs, output=None, **attributes):
        output = output or f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def model(self, inputs, outputs, **how):
        return model(self.nodes, inputs, outputs, self.weights, **how)


def layers(count=6, width=WIDTH):
    """x [rows, width] -> y: Gemm with bias and Relu, `count` times."""
    graph, at = Graph(), "x"
    for index in range(count):
        at = graph.node("Gemm", at, graph.weight(width, width), graph.weight(width))
        at = graph.node("Relu", at, output="y" if index == count - 1 else None)
    return graph.model([tensor("x", "FP32", ("rows", width))], [tensor("y", "FP32", ("rows", width))])


def branches():
    """image [rows, 3, 12, 12] -> y: convolutions with a residual, then four branches that are joined again."""
    graph = Graph()

    def convolve(at, given, made, side=3):
        pads = [side // 2] * 4
        at = graph.node("Conv", at, graph.weight(made, given, side, side), graph.weight(made), pads=pads)
        scale = graph.constant(np.linspace(0.5, 1.5, made))
        shift, mean, variance = (graph.constant(np.full(made, value)) for value in (0.1, 0.0, 1.2))
        return graph.node("Relu", graph.node("BatchNormalization", at, scale, shift, mean, variance))

    at = convolve("image", 3, 16)
    for _ in range(2):
        at = graph.node("Relu", graph.node("Add", at, convolve(convolve(at, 16, 16), 16, 16)))
    pooled = graph.node("MaxPool", at, kernel_shape=[3, 3], pads=[1] * 4)
    parts = [
        convolve(at, 16, 8, 1),
        convolve(convolve(at, 16, 8, 1), 8, 8),
        convolve(at, 16, 8, 5),
        convolve(pooled, 16, 8, 1),
    ]
    joined = graph.node("Concat", *parts, axis=1)
    flat = graph.node("Flatten", graph.node("GlobalAveragePool", joined))
    graph.node("Gemm", flat, graph.weight(32, 10), graph.weight(10), output="y")
    return graph.model([tensor("image", "FP32", ("rows", 3, 12, 12))], [tensor("y", "FP32", ("rows", 10))])


def encoder(layers=3, heads=4, tied=False):
    """ids INT64 [rows, tokens], mask INT64 -> y: a transformer with its shapes computed from its inputs' and, if
    `tied`, the embeddings once more as the last product."""
    graph, vocabulary = Graph(), 50
    table = graph.weight(vocabulary, WIDTH)
    ones, zeros = graph.constant(np.ones(WIDTH)), graph.constant(np.zeros(WIDTH))
    scale, big = graph.constant((WIDTH / heads) ** -0.5), graph.constant(-1e4)
    shape = graph.node("Shape", "ids")
    rows = graph.node("Gather", shape, graph.constant([0], np.int64), axis=0)
    tokens = graph.node("Gather", shape, graph.constant([1], np.int64), axis=0)
    by_head = graph.node("Concat", rows, tokens, graph.constant([heads, WIDTH // heads], np.int64), axis=0)
    whole = graph.node("Concat", rows, tokens, graph.constant([WIDTH], np.int64), axis=0)
    hidden = graph.node("Sub", graph.constant(1.0), graph.node("Cast", "mask", to=TensorProto.FLOAT))
    hidden = graph.node("Unsqueeze", graph.node("Mul", hidden, big), graph.constant([1, 2], np.int64))

    def norm(at):
        centred = graph.node("Sub", at, graph.node("ReduceMean", at, axes=[-1]))
        variance = graph.node("ReduceMean", graph.node("Mul", centred, centred), axes=[-1])
        spread = graph.node("Sqrt", graph.node("Add", variance, graph.constant(1e-5)))
        return graph.node("Add", graph.node("Mul", graph.node("Div", centred, spread), ones), zeros)

    def dense(at, given, made):
        return graph.node("Add", graph.node("MatMul", at, graph.weight(given, made)), graph.weight(made))

    def split(at, *order):
        return graph.node("Transpose", graph.node("Reshape", at, by_head), perm=order)

    at = graph.node("Gather", table, "ids")
    for _ in range(layers):
        query, key, value = (dense(at, WIDTH, WIDTH) for _ in range(3))
        scores = graph.node("MatMul", split(query, 0, 2, 1, 3), split(key, 0, 2, 3, 1))
        scores = graph.node("Softmax", graph.node("Add", graph.node("Mul", scores, scale), hidden), axis=-1)
        mixed = graph.node("Transpose", graph.node("MatMul", scores, split(value, 0, 2, 1, 3)), perm=[0, 2, 1, 3])
        at = norm(graph.node("Add", at, dense(graph.node("Reshape", mixed, whole), WIDTH, WIDTH)))
        wide = dense(at, WIDTH, 2 * WIDTH)
        half = graph.node("Mul", wide, graph.constant(0.5))
        erf = graph.node("Erf", graph.node("Mul", wide, graph.constant(2**-0.5)))
        wide = graph.node("Mul", half, graph.node("Add", erf, graph.constant(1.0)))
        at = norm(graph.node("Add", at, dense(wide, 2 * WIDTH, WIDTH)))
    last = graph.node("Transpose", table, perm=[1, 0]) if tied else graph.weight(WIDTH, vocabulary)
    graph.node("MatMul", at, last, output="y")
    inputs = [tensor(name, "INT64", ("rows", "tokens")) for name in ("ids", "mask")]
    return graph.model(inputs, [tensor("y", "FP32", ("rows", "tokens", vocabulary))])


def tied():
    """An encoder whose embeddings are its last weights too."""
    return encoder(tied=True)


def several_outputs():
    """x [rows, width] -> early, which later nodes take too, late, a constant, and the double of x; one node is dead."""
    graph = Graph()
    graph.node("MatMul", "x", graph.weight(WIDTH, WIDTH), output="early")
    at = graph.node("Tanh", graph.node("MatMul", "early", graph.weight(WIDTH, WIDTH)))
    graph.node("MatMul", at, graph.weight(WIDTH, WIDTH))
    at = graph.node("Relu", graph.node("MatMul", at, graph.weight(WIDTH, WIDTH)))
    graph.node("Add", at, "early", output="late")
    graph.node("Add", "x", "x", output="double")
    graph.node("Neg", graph.constant([1.0, 2.0]), output="fixed")
    flat = ("rows", WIDTH)
    outputs = [tensor(name, "FP32", flat) for name in ("double", "early", "late")]
    return graph.model([tensor("x", "FP32", flat)], [*outputs, tensor("fixed", "FP32", (2,))])


def optional_input():
    """x [rows, width], scale (with a default) -> y, scaled twice, in stages that are far apart."""
    graph = Graph()
    at = graph.node("Mul", "x", "scale")
    for _ in range(4):
        at = graph.node("Tanh", graph.node("MatMul", at, graph.weight(WIDTH, WIDTH)))
    graph.node("Mul", at, "scale", output="y")
    graph.weights.append(constant("scale", np.full(WIDTH, 2.0)))
    flat = ("rows", WIDTH)
    return graph.model([tensor("x", "FP32", flat), tensor("scale", "FP32", (WIDTH,))], [tensor("y", "FP32", flat)])


def control_flow():
    """x [rows, width], much BOOL [] -> y: an If whose branches have weights and take the outer x and a weight, then a
    Loop of three rounds."""
    graph = Graph()
    outer = graph.weight(WIDTH, WIDTH)
    at = graph.node("Relu", graph.node("MatMul", "x", graph.weight(WIDTH, WIDTH)))
    own = constant("own", np.random.default_rng(3).normal(size=(WIDTH, WIDTH)) / WIDTH)
    much = helper.make_graph(
        [helper.make_node("MatMul", [at, "own"], ["inner"]), helper.make_node("Add", ["inner", "x"], ["then"])],
        "much",
        [],
        [tensor("then", "FP32", ("rows", WIDTH))],
        [own],
    )
    little = helper.make_graph(
        [helper.make_node("MatMul", [at, outer], ["else"])], "little", [], [tensor("else", "FP32", ("rows", WIDTH))]
    )
    at = graph.node("If", "much", then_branch=much, else_branch=little)
    at = graph.node("Tanh", graph.node("MatMul", at, graph.weight(WIDTH, WIDTH)))
    body = helper.make_graph(
        [helper.make_node("MatMul", ["h", outer], ["next"]), helper.make_node("Identity", ["on"], ["still_on"])],
        "body",
        [tensor("at", "INT64", ()), tensor("on", "BOOL", ()), tensor("h", "FP32", ("rows", WIDTH))],
        [tensor("still_on", "BOOL", ()), tensor("next", "FP32", ("rows", WIDTH))],
    )
    at = graph.node("Loop", graph.constant(3, np.int64), "", at, body=body)
    graph.node("MatMul", at, graph.weight(WIDTH, WIDTH), output="y")
    flat = ("rows", WIDTH)
    return graph.model([tensor("x", "FP32", flat), tensor("much", "BOOL", ())], [tensor("y", "FP32", flat)])


def sequences():
    """x [rows, width] -> y: split into a sequence of tensors, which no stage can take, and joined again."""
    graph = Graph()
    at = graph.node("MatMul", "x", graph.weight(WIDTH, WIDTH))
    parts = graph.node("SplitToSequence", graph.node("Tanh", at), graph.constant(8, np.int64), axis=1)
    at = graph.node("ConcatFromSequence", parts, axis=1)
    for _ in range(2):
        at = graph.node("Tanh", graph.node("MatMul", at, graph.weight(WIDTH, WIDTH)))
    graph.node("MatMul", at, graph.weight(WIDTH, WIDTH), output="y")
    flat = ("rows", WIDTH)
    return graph.model([tensor("x", "FP32", flat)], [tensor("y", "FP32", flat)])


def functions():
    """x [rows, width] -> y: four calls of a function of the model's own, which has a constant in it."""
    graph, at = Graph(), "x"
    body = [
        helper.make_node("MatMul", ["a", "b"], ["product"]),
        helper.make_node("Constant", [], ["shift"], value=constant("shift", np.linspace(-1, 1, 512).reshape(1, 512))),
        helper.make_node("Constant", [], ["first"], value=constant("first", np.arange(WIDTH), np.int64)),
        helper.make_node("Gather", ["shift", "first"], ["some"], axis=1),
        helper.make_node("Add", ["product", "some"], ["c"]),
    ]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    dense = helper.make_function("own", "Dense", ["a", "b"], ["c"], body, opsets[:1])
    for index in range(4):
        at = graph.node("Dense", at, graph.weight(WIDTH, WIDTH), domain="own", output="y" if index == 3 else None)
    flat = ("rows", WIDTH)
    proto = ModelProto.FromString(graph.model([tensor("x", "FP32", flat)], [tensor("y", "FP32", flat)]))
    proto.functions.append(dense)
    proto.opset_import.append(opsets[1])
    return bytes(proto.SerializeToString(deterministic=True))


def fused_kinds():
    """x [rows, width] -> y, of operators that ONNX Runtime knows and ONNX does not, with no types said between."""
    graph, at = Graph(), "x"
    for index in range(4):
        at = graph.node(
            "FusedMatMul",
            at,
            graph.weight(WIDTH, WIDTH),
            domain="com.microsoft",
            alpha=0.5,
        )
        at = graph.node("BiasGelu", at, graph.weight(WIDTH), domain="com.microsoft", output="y" if index == 3 else None)
    flat = ("rows", WIDTH)
    proto = ModelProto.FromString(graph.model([tensor("x", "FP32", flat)], [tensor("y", "FP32", flat)]))
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return bytes(proto.SerializeToString(deterministic=True))


def quantised(layers=4):
    """image [rows, 8, 8, 8] -> y: int8 convolutions between Quantize- and DequantizeLinear, with a residual."""
    graph = Graph()

    def fixed(scale, zero, dtype):
        return graph.constant(scale), graph.constant(zero, dtype)

    def quantise(at, scale=0.05):
        return graph.node("QuantizeLinear", at, *fixed(scale, 128, np.uint8)), scale

    def dequantise(at, scale):
        return graph.node("DequantizeLinear", at, *fixed(scale, 128, np.uint8))

    rng = np.random.default_rng(5)
    at, scale = quantise("image")
    for _ in range(layers):
        filters = graph.constant(rng.integers(-127, 128, (8, 8, 3, 3)), np.int8)
        filters = graph.node("DequantizeLinear", filters, *fixed(0.004, 0, np.int8))
        bias = graph.node(
            "DequantizeLinear", graph.constant(rng.integers(-99, 99, 8), np.int32), *fixed(0.0002, 0, np.int32)
        )
        made = graph.node("Relu", graph.node("Conv", dequantise(at, scale), filters, bias, pads=[1] * 4))
        made, there = quantise(made)
        at, scale = quantise(graph.node("Add", dequantise(made, there), dequantise(at, scale)))
    pooled = graph.node("GlobalAveragePool", dequantise(at, scale))
    at, scale = quantise(graph.node("Flatten", pooled))
    weights = graph.node(
        "DequantizeLinear", graph.constant(rng.integers(-127, 128, (8, 40)), np.int8), *fixed(0.01, 0, np.int8)
    )
    at, scale = quantise(graph.node("MatMul", dequantise(at, scale), weights))
    graph.node("DequantizeLinear", at, *fixed(scale, 128, np.uint8), output="y")
    return graph.model([tensor("image", "FP32", ("rows", 8, 8, 8))], [tensor("y", "FP32", ("rows", 40))])


def quantised_operators(layers=4):
    """x [rows, width] -> y: QLinearMatMul after QLinearMatMul."""
    graph, rng = Graph(), np.random.default_rng(6)
    one = (graph.constant(0.05), graph.constant(128, np.uint8))
    of_weights = (graph.constant(0.01), graph.constant(0, np.int8))
    at = graph.node("QuantizeLinear", "x", *one)
    for _ in range(layers):
        weights = graph.constant(rng.integers(-127, 128, (WIDTH, WIDTH)), np.int8)
        at = graph.node("QLinearMatMul", at, *one, weights, *of_weights, *one)
    graph.node("DequantizeLinear", at, *one, output="y")
    flat = ("rows", WIDTH)
    return graph.model([tensor("x", "FP32", flat)], [tensor("y", "FP32", flat)])


def sparse():
    """x [rows, width] -> y; a weight of the first product is a sparse initializer."""
    graph = Graph()
    at = graph.node("Tanh", graph.node("MatMul", "x", "thin"))
    for _ in range(2):
        at = graph.node("Tanh", graph.node("MatMul", at, graph.weight(WIDTH, WIDTH)))
    graph.node("MatMul", at, "thin", output="y")
    flat = ("rows", WIDTH)
    proto = ModelProto.FromString(graph.model([tensor("x", "FP32", flat)], [tensor("y", "FP32", flat)]))
    places = constant("", np.arange(0, WIDTH * WIDTH, WIDTH + 1), np.int64)
    values = constant("thin", np.linspace(0.5, 1.5, WIDTH))
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [WIDTH, WIDTH]))
    return bytes(proto.SerializeToString(deterministic=True))


def field(number, length):
    """The head of a field of so many bytes."""
    head = []
    for value in (number << 3 | 2, length):
        rest = value
        while rest > 0x7F:
            head.append(rest & 0x7F | 0x80)
            rest >>= 7
        head.append(rest)
    return bytes(head)


def two_tables(file, rows):
    """ids INT64 [n] -> y FP32 [n, 64], of two tables with so many rows, which are holes in the file but for the last
    row of the last one, which is 7. Written piece by piece, since protobuf makes no message of more than 2 GB."""
    nodes = [
        helper.make_node("Gather", ["early", "ids"], ["a"]),
        helper.make_node("Softmax", ["a"], ["b"]),
        helper.make_node("Gather", ["late", "ids"], ["c"]),
        helper.make_node("Add", ["b", "c"], ["y"]),
    ]
    ends = [tensor("ids", "INT64", ("n",))], [tensor("y", "FP32", ("n", 64))]
    graph = helper.make_graph(nodes, "tables", *ends).SerializeToString()
    size = rows * 64 * 4
    tables = [TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[rows, 64]) for name in ("early", "late")]
    heads = [table.SerializeToString() + field(TensorProto.RAW_DATA_FIELD_NUMBER, size) for table in tables]
    heads = [field(5, len(head) + size) + head for head in heads]
    model = ModelProto(ir_version=8, opset_import=[helper.make_opsetid("", 17)]).SerializeToString()
    with file.open("wb") as opened:
        opened.write(model + field(7, len(graph) + sum(len(head) + size for head in heads)) + graph)
        for head in heads:
            opened.write(head)
            opened.seek(size, 1)
        opened.seek(-256, 1)
        opened.write(np.full(64, 7, np.float32).tobytes())
