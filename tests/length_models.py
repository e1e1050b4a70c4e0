"""Tiny ONNX models with a length, INT64 [n, length] in: some are the same padded and alone, some are not."""

import numpy as np
from onnx import ModelProto, TensorProto, helper
from onnx_models import constant, counted_loop, model, tensor

node = helper.make_node
WIDTH = 8
ENTRIES = 50


def _embedded(name="ids"):
    rng = np.random.default_rng(3)
    return node("Gather", ["table", name], ["x"]), constant("table", rng.normal(size=(ENTRIES, WIDTH)))


def attention(mask="attention_mask", datatype="INT64", real=1):
    """ids, mask [n, length] -> tokens FP32 [n, length, WIDTH] (attention over what is real), mean FP32 [n, WIDTH]."""
    embed, table = _embedded()
    rng = np.random.default_rng(4)
    sign = [node("Sub", ["one", "cast"], ["there"])] if not real else [node("Identity", ["cast"], ["there"])]
    return model(
        [
            embed,
            node("Cast", [mask], ["cast"], to=TensorProto.FLOAT),
            *sign,
            node("Sub", ["there", "one"], ["minus"]),
            node("Mul", ["minus", "much"], ["hidden"]),
            node("Unsqueeze", ["hidden", "axis_1"], ["row"]),
            node("MatMul", ["x", "projection"], ["query"]),
            node("Transpose", ["x"], ["keys"], perm=[0, 2, 1]),
            node("MatMul", ["query", "keys"], ["scores"]),
            node("Add", ["scores", "row"], ["masked"]),
            node("Softmax", ["masked"], ["weights"], axis=-1),
            node("MatMul", ["weights", "x"], ["tokens"]),
            node("Unsqueeze", ["there", "axis_2"], ["column"]),
            node("Mul", ["tokens", "column"], ["counted"]),
            node("ReduceSum", ["counted", "axis_1"], ["summed"], keepdims=0),
            node("ReduceSum", ["column", "axis_1"], ["count"], keepdims=0),
            node("Div", ["summed", "count"], ["mean"]),
        ],
        [tensor("ids", "INT64", ("n", "length")), tensor(mask, datatype, ("n", "length"))],
        [tensor("tokens", "FP32", ("n", "length", WIDTH)), tensor("mean", "FP32", ("n", WIDTH))],
        [
            table,
            constant("projection", rng.normal(size=(WIDTH, WIDTH))),
            constant("one", 1.0),
            constant("much", 1e9),
            constant("axis_1", [1], np.int64),
            constant("axis_2", [2], np.int64),
        ],
    )


def _over_length(operator, *more, **attributes):
    embed, table = _embedded()
    inputs, outputs = [tensor("ids", "INT64", ("n", "length"))], [tensor("y", "FP32", ("n", WIDTH))]
    return model(
        [embed, node(operator, ["x", *(each.name for each in more)], ["y"], **attributes)],
        inputs,
        outputs,
        [table, *more],
    )


def mean():
    """ids -> y FP32 [n, WIDTH], the mean over all positions: nobody says which are real."""
    return _over_length("ReduceMean", axes=[1], keepdims=0)


def largest():
    """ids -> y, the largest over all positions: what is filled in shows only if all that is real lies below."""
    inputs, outputs = [tensor("x", "FP32", ("n", "length"))], [tensor("y", "FP32", ("n",))]
    return model([node("ReduceMax", ["x"], ["y"], axes=[1], keepdims=0)], inputs, outputs)


def last():
    """ids -> y, the last position."""
    return _over_length("Gather", constant("at", -1, np.int64), axis=1)


def running_sums():
    """x FP32 [n, length] -> y [n, length]: positions depend on those before them, and on none that is filled in."""
    shape = ("n", "length")
    axis = constant("axis", 1, np.int64)
    return model(
        [node("CumSum", ["x", "axis"], ["y"])], [tensor("x", "FP32", shape)], [tensor("y", "FP32", shape)], [axis]
    )


def every_other():
    """x FP32 [n, length] -> y, every other position: an answer that nobody knows how to cut back."""
    steps = [constant(name, [value], np.int64) for name, value in (("from", 0), ("to", 9999), ("axis", 1), ("step", 2))]
    cut = node("Slice", ["x", "from", "to", "axis", "step"], ["y"])
    return model([cut], [tensor("x", "FP32", ("n", "length"))], [tensor("y", "FP32", ("n", "half"))], steps)


def scores():
    """x FP32 [n, length] -> y FP32 [n, length, length], the products of all pairs: two axes to cut back."""
    return model(
        [
            node("Unsqueeze", ["x", "axis_1"], ["row"]),
            node("Unsqueeze", ["x", "axis_2"], ["column"]),
            node("Mul", ["row", "column"], ["y"]),
        ],
        [tensor("x", "FP32", ("n", "length"))],
        [tensor("y", "FP32", ("n", "length", "length"))],
        [constant("axis_1", [1], np.int64), constant("axis_2", [2], np.int64)],
    )


def two_lengths():
    """a [n, length], b [n, other] FP32 -> y = a, z = b."""
    a, b = tensor("a", "FP32", ("n", "length")), tensor("b", "FP32", ("n", "other"))
    y, z = tensor("y", "FP32", ("n", "length")), tensor("z", "FP32", ("n", "other"))
    return model([node("Identity", ["a"], ["y"]), node("Identity", ["b"], ["z"])], [a, b], [y, z])


def text():
    """words BYTES [n, length] -> y = words."""
    shape = ("n", "length")
    return model([node("Identity", ["words"], ["y"])], [tensor("words", "BYTES", shape)], [tensor("y", "BYTES", shape)])


def busy_attention():
    """As `attention`, with loops INT64 [n, 1]: four products of large matrices and the most loops of the batch.

    So a run costs more than all that is filled in, and a request says how long its batch takes.
    """
    proto = ModelProto.FromString(attention())
    for each in proto.graph.node:
        each.output[:] = ["mean at once" if name == "mean" else name for name in each.output]
    nodes, constants = counted_loop("trips", "brake", 384)
    proto.graph.input.append(tensor("loops", "INT64", ("n", 1)))
    count = [node("ReduceMax", ["loops"], ["most"], axes=[0, 1], keepdims=0), node("Add", ["most", "four"], ["trips"])]
    proto.graph.node.extend([*count, *nodes, node("Add", ["mean at once", "brake"], ["mean"])])
    proto.graph.initializer.extend([*constants, constant("four", 4, np.int64)])
    return bytes(proto.SerializeToString(deterministic=True))
