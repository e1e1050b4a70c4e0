"""Makes `models/language`: which of twelve languages a text of any length is written in, and which characters say so.

Receives `data/messages.tsv` (translated messages of web software), hands a logistic regression over hashed pairs,
triples and quadruples of UTF-8 bytes to `graph.py`. Invariants: 1. Token 0 is padding, at the end of a text only:
padded and unpadded it gets the same answer. 2. Any other INT64 is a token; bytes are what it was trained on. 3. Every
fifth message is held out in all languages at once, so that no held-out text is a translation of a training text; nor
is it the same as one but for case and punctuation.
"""

from __future__ import annotations

from typing import Any

import graph
import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

INPUTS: list[graph.Spec] = [("tokens", "INT64", ("batch", "length"))]
OUTPUTS: list[graph.Spec] = [
    ("language", "BYTES", ("batch",)),
    ("probabilities", "FP32", ("batch", 12)),
    ("evidence", "FP32", ("batch", "length")),
]
LABELS = (
    "Czech", "German", "English", "Spanish", "Finnish", "French",
    "Italian", "Dutch", "Polish", "Portuguese", "Swedish", "Turkish",
)  # fmt: skip
"""In the order of the columns of messages.tsv."""
LONGEST = 4
BUCKETS = 2039
BASE = 257
SPACE = 32

Texts = list[tuple[str, int]]


def split() -> tuple[Texts, Texts]:
    """Training and held-out texts with the index of their language; the same at every call."""
    _, *lines = (graph.HERE / "data" / "messages.tsv").read_text(encoding="utf-8").splitlines()
    halves: tuple[Texts, Texts] = [], []
    for number, line in enumerate(lines):
        halves[number % 5 == 4].extend((text, language) for language, text in enumerate(line.split("\t")) if text)
    train = {letters(text): (text, language) for text, language in halves[0]}
    held_out = {letters(text): (text, language) for text, language in halves[1]}
    return list(train.values()), [example for key, example in held_out.items() if key not in train]


def letters(text: str) -> str:
    """What is left of a text without case, digits and punctuation."""
    return "".join(filter(str.isalpha, text)).casefold()


def tokens(texts: list[str]) -> npt.NDArray[np.int64]:
    """The texts as UTF-8 bytes, one a row, padded with zeros to the longest."""
    encoded = [text.encode() for text in texts]
    padded = np.zeros((len(texts), max(map(len, encoded))), np.int64)
    for row, text in zip(padded, encoded, strict=True):
        row[: len(text)] = list(text)
    return padded


def buckets(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Rows of the weight table for the pair, triple and quadruple that begin before each token: [batch, length, 3]."""
    lower = np.where((rows >= ord("A")) & (rows <= ord("Z")), rows + SPACE, rows)
    around = np.pad(np.pad(lower, ((0, 0), (1, 0)), constant_values=SPACE), ((0, 0), (0, LONGEST - 2)))
    value = around[:, : rows.shape[1]]
    found = []
    for size in range(2, LONGEST + 1):
        value = value * BASE + around[:, size - 1 : size - 1 + rows.shape[1]]
        found.append(value % BUCKETS + (size - 2) * BUCKETS)
    return np.stack(found, axis=2)


def features(texts: list[str]) -> csr_matrix:
    """How often each bucket occurs in each text, over the square root of the text's length."""
    rows = tokens(texts)
    text, position = np.nonzero(rows)
    columns = buckets(rows)[text, position]
    share = np.repeat(np.count_nonzero(rows, axis=1)[text] ** -0.5, columns.shape[1])
    where = (np.repeat(text, columns.shape[1]), columns.ravel())
    return csr_matrix((share, where), shape=(len(texts), (LONGEST - 1) * BUCKETS))


def make() -> onnx.ModelProto:
    """Fit the regression (some ten seconds), and write it down as an ONNX graph that takes the bytes themselves."""
    train, _ = split()
    regression = LogisticRegression(C=10, max_iter=500)
    with threadpool_limits(1):
        regression.fit(features([text for text, _ in train]), [language for _, language in train])
    weights = {
        "weight": regression.coef_.T.astype(np.float32),
        "bias": regression.intercept_.astype(np.float32),
        "padding": np.array(0, np.int64),
        "before_upper": np.array(ord("A") - 1, np.int64),
        "after_upper": np.array(ord("Z") + 1, np.int64),
        "space": np.array(SPACE, np.int64),
        "one_before": np.array([0, 1, 0, 0], np.int64),
        "two_after": np.array([0, 0, 0, LONGEST - 2], np.int64),
        "base": np.array(BASE, np.int64),
        "bucket_count": np.array(BUCKETS, np.int64),
        "first_bucket": np.arange(LONGEST - 1, dtype=np.int64) * BUCKETS,
        "classes": np.arange(len(LABELS), dtype=np.int64),
        "one": np.array(1, np.float32),
        "axis_1": np.array([1], np.int64),
        "axis_2": np.array([2], np.int64),
        "axes_12": np.array([1, 2], np.int64),
    }
    for offset in range(LONGEST):
        weights[f"from_{offset}"] = np.array([offset], np.int64)
        weights[f"to_{offset}"] = np.array([offset - LONGEST + 1 or np.iinfo(np.int64).max], np.int64)
    return graph.build("language", INPUTS, OUTPUTS, [*_buckets(), *_classify()], weights)


def _buckets() -> list[onnx.NodeProto]:
    """The graph's twin of `buckets`."""
    node = helper.make_node
    nodes = [
        node("Greater", ["tokens", "before_upper"], ["from_upper_on"]),
        node("Less", ["tokens", "after_upper"], ["up_to_upper"]),
        node("And", ["from_upper_on", "up_to_upper"], ["upper"]),
        node("Add", ["tokens", "space"], ["lowered"]),
        node("Where", ["upper", "lowered", "tokens"], ["lower"]),
        node("Pad", ["lower", "one_before", "space"], ["after_space"]),
        node("Pad", ["after_space", "two_after", "padding"], ["around"]),
    ]
    for offset in range(LONGEST):
        nodes.append(node("Slice", ["around", f"from_{offset}", f"to_{offset}", "axis_1"], [f"byte_{offset}"]))
    value, columns = "byte_0", []
    for size in range(2, LONGEST + 1):
        nodes.append(node("Mul", [value, "base"], [f"shifted_{size}"]))
        nodes.append(node("Add", [f"shifted_{size}", f"byte_{size - 1}"], [f"value_{size}"]))
        nodes.append(node("Unsqueeze", [f"value_{size}", "axis_2"], [f"column_{size}"]))
        value = f"value_{size}"
        columns.append(f"column_{size}")
    nodes.append(node("Concat", columns, ["values"], axis=2))
    nodes.append(node("Mod", ["values", "bucket_count"], ["bucket"]))
    nodes.append(node("Add", ["bucket", "first_bucket"], ["buckets"]))
    return nodes


def _classify() -> list[onnx.NodeProto]:
    """What each token says for each language, its sum as probabilities, and its part in the winner's logit."""
    node = helper.make_node
    return [
        node("Equal", ["tokens", "padding"], ["is_padding"]),
        node("Not", ["is_padding"], ["is_token"]),
        node("Cast", ["is_token"], ["mask"], to=onnx.TensorProto.FLOAT),
        node("ReduceSum", ["mask", "axis_1"], ["count"], keepdims=1),
        node("Max", ["count", "one"], ["at_least_one"]),
        node("Sqrt", ["at_least_one"], ["root"]),
        node("Div", ["mask", "root"], ["share"]),
        node("Unsqueeze", ["share", "axis_2"], ["share_column"]),
        node("Gather", ["weight", "buckets"], ["per_bucket"]),
        node("ReduceSum", ["per_bucket", "axis_2"], ["per_token"], keepdims=0),
        node("Mul", ["per_token", "share_column"], ["says"]),
        node("ReduceSum", ["says", "axis_1"], ["said"], keepdims=0),
        node("Add", ["said", "bias"], ["logits"]),
        node("Softmax", ["logits"], ["probabilities"], axis=-1),
        node("ArgMax", ["logits"], ["best"], axis=-1, keepdims=0),
        graph.ml("LabelEncoder", ["best"], ["language"], keys_int64s=list(range(len(LABELS))), values_strings=LABELS),
        node("Unsqueeze", ["best", "axes_12"], ["best_column"]),
        node("Equal", ["best_column", "classes"], ["is_best"]),
        node("Cast", ["is_best"], ["only_best"], to=onnx.TensorProto.FLOAT),
        node("Mul", ["says", "only_best"], ["says_for_best"]),
        node("ReduceSum", ["says_for_best", "axis_2"], ["evidence"], keepdims=0),
    ]


def accuracy(model: onnx.ModelProto) -> float:
    """Share of the held-out texts whose language the model names."""
    _, held_out = split()
    named = graph.run(model, {"tokens": tokens([text for text, _ in held_out])})["language"]
    return float(np.mean(named == np.array(LABELS, object)[[language for _, language in held_out]]))


def request() -> dict[str, Any]:
    """A sentence that is in neither half of the data, and what it takes to read the answer."""
    inputs = [graph.tensor(INPUTS[0], tokens(["Missä on rautatieasema?"]))]
    return {"inputs": inputs, "outputs": [{"name": "language"}]}


if __name__ == "__main__":
    model = make()
    graph.write("language", model, LABELS, request())
    print(f"language: {accuracy(model):.4f} of the held-out texts named correctly")
