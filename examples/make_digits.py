"""Makes `models/digits`: handwritten digits, 8 by 8 pixels, told apart by a small neural network.

Receives scikit-learn's bundled copy of the UCI digits (1,797 images, nothing to download), hands the trained weights
to `graph.py`. Raw pixels (0 to 16) go in: the scaling is part of the graph. A quarter of the images is held out.
"""

from __future__ import annotations

from typing import Any

import graph
import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

INPUTS: list[graph.Spec] = [("pixels", "FP32", ("batch", 64))]
OUTPUTS: list[graph.Spec] = [("digit", "INT64", ("batch",)), ("probabilities", "FP32", ("batch", 10))]
LABELS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
BRIGHTEST = np.float32(16)


def split() -> list[npt.NDArray[Any]]:
    """Training pixels, held-out pixels, training digits, held-out digits; the same at every call."""
    pixels, digits = load_digits(return_X_y=True)
    parts = train_test_split(pixels.astype(np.float32), digits, test_size=0.25, stratify=digits, random_state=0)
    return list(parts)


def make(enough: float = 1e-4) -> onnx.ModelProto:
    """Train until the loss falls by less than `enough`, and write the weights down as an ONNX graph."""
    pixels, _, digits, _ = split()
    network = MLPClassifier(hidden_layer_sizes=(128,), alpha=0.01, max_iter=400, tol=enough, random_state=0)
    with threadpool_limits(1):
        network.fit(pixels / BRIGHTEST, digits)
    weights = {"brightest": BRIGHTEST.reshape(1)}
    for layer, (matrix, bias) in enumerate(zip(network.coefs_, network.intercepts_, strict=True), 1):
        weights |= {f"weight_{layer}": matrix.astype(np.float32), f"bias_{layer}": bias.astype(np.float32)}
    nodes = [
        helper.make_node("Div", ["pixels", "brightest"], ["scaled"]),
        helper.make_node("Gemm", ["scaled", "weight_1", "bias_1"], ["before_relu"]),
        helper.make_node("Relu", ["before_relu"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "weight_2", "bias_2"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
        helper.make_node("ArgMax", ["logits"], ["digit"], axis=-1, keepdims=0),
    ]
    return graph.build("digits", INPUTS, OUTPUTS, nodes, weights)


def accuracy(model: onnx.ModelProto) -> float:
    """Share of the held-out images that the model reads correctly."""
    _, pixels, _, digits = split()
    return float(np.mean(graph.run(model, {"pixels": pixels})["digit"] == digits))


def request() -> dict[str, Any]:
    """The first held-out seven."""
    _, pixels, _, digits = split()
    return {"inputs": [graph.tensor(INPUTS[0], pixels[digits == 7][:1].astype(int))]}


if __name__ == "__main__":
    model = make()
    graph.write("digits", model, LABELS, request())
    print(f"digits: {accuracy(model):.4f} of the held-out images read correctly")
