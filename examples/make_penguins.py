"""Makes `models/penguins`: the species of a penguin from six inputs of five datatypes, strings among them.

Receives `data/penguins.csv` (344 penguins of Palmer Station), hands a logistic regression to `graph.py`. Invariants:
1. An unknown island or sex ("" for not noted) is answered all the same, and shows in `in_range`. 2. Rows are
independent. The two penguins that nobody measured are left out; a quarter of the others is held out.
"""

from __future__ import annotations

import csv
from typing import Any

import graph
import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

INPUTS: list[graph.Spec] = [
    ("island", "BYTES", ("batch",)),
    ("sex", "BYTES", ("batch",)),
    ("bill_mm", "FP32", ("batch", 2)),
    ("flipper_mm", "INT32", ("batch",)),
    ("body_mass_g", "INT64", ("batch",)),
    ("clutch_complete", "BOOL", ("batch",)),
]
OUTPUTS: list[graph.Spec] = [
    ("species", "BYTES", ("batch",)),
    ("probabilities", "FP32", ("batch", 3)),
    ("unfamiliar", "INT64", ("batch",)),
    ("in_range", "BOOL", ("batch",)),
]
LABELS = SPECIES = ("Adelie", "Chinstrap", "Gentoo")
ISLANDS = ("Biscoe", "Dream", "Torgersen")
SEXES = ("female", "male")

Table = dict[str, npt.NDArray[Any]]


def split() -> list[Table]:
    """Training and held-out penguins by column, the model's inputs and `species`; the same at every call."""
    with (graph.HERE / "data" / "penguins.csv").open(encoding="utf-8", newline="") as stream:
        measured = [row for row in csv.DictReader(stream) if row["body_mass_g"]]
    bills = [(row["bill_length_mm"], row["bill_depth_mm"]) for row in measured]
    table: Table = {
        "species": np.array([row["species"] for row in measured], object),
        "island": np.array([row["island"] for row in measured], object),
        "sex": np.array([row["sex"] for row in measured], object),
        "bill_mm": np.array(bills, np.float32),
        "flipper_mm": np.array([row["flipper_mm"] for row in measured], np.int32),
        "body_mass_g": np.array([row["body_mass_g"] for row in measured], np.int64),
        "clutch_complete": np.array([row["clutch_complete"] == "Yes" for row in measured]),
    }
    rows = np.arange(len(measured))
    halves = train_test_split(rows, test_size=0.25, stratify=table["species"], random_state=0)
    return [{name: column[half] for name, column in table.items()} for half in halves]


def measures(table: Table) -> npt.NDArray[np.float32]:
    """The numeric columns as one FP32 matrix: bill length and depth, flipper, mass."""
    columns = [table["bill_mm"], table["flipper_mm"][:, None], table["body_mass_g"][:, None]]
    return np.concatenate(columns, axis=1).astype(np.float32)


def features(table: Table, mean: npt.NDArray[np.float32], spread: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """What the regression sees, in the order in which the graph builds it."""
    islands = table["island"][:, None] == np.array(ISLANDS, object)
    sexes = table["sex"][:, None] == np.array(SEXES, object)
    columns = [islands, sexes, table["clutch_complete"][:, None], (measures(table) - mean) / spread]
    return np.concatenate(columns, axis=1).astype(np.float32)


def make() -> onnx.ModelProto:
    """Fit the regression, and write it down with its preprocessing as an ONNX graph."""
    train, _ = split()
    mean, spread = measures(train).mean(axis=0), measures(train).std(axis=0)
    with threadpool_limits(1):
        regression = LogisticRegression(max_iter=1000).fit(features(train, mean, spread), train["species"])
    assert tuple(regression.classes_) == SPECIES
    weights = {
        "mean": mean,
        "spread": spread,
        "least": measures(train).min(axis=0),
        "most": measures(train).max(axis=0),
        "weight": regression.coef_.T.astype(np.float32),
        "bias": regression.intercept_.astype(np.float32),
        "column": np.array([1], np.int64),
        "zero": np.array(0, np.int64),
    }
    return graph.build("penguins", INPUTS, OUTPUTS, [*_classify(), *_doubt()], weights)


def _classify() -> list[onnx.NodeProto]:
    node = helper.make_node
    return [
        graph.ml("OneHotEncoder", ["island"], ["islands"], cats_strings=ISLANDS, zeros=1),
        graph.ml("OneHotEncoder", ["sex"], ["sexes"], cats_strings=SEXES, zeros=1),
        node("Unsqueeze", ["clutch_complete", "column"], ["clutch_column"]),
        node("Cast", ["clutch_column"], ["clutch"], to=onnx.TensorProto.FLOAT),
        node("Unsqueeze", ["flipper_mm", "column"], ["flipper_column"]),
        node("Cast", ["flipper_column"], ["flipper"], to=onnx.TensorProto.FLOAT),
        node("Unsqueeze", ["body_mass_g", "column"], ["mass_column"]),
        node("Cast", ["mass_column"], ["mass"], to=onnx.TensorProto.FLOAT),
        node("Concat", ["bill_mm", "flipper", "mass"], ["measures"], axis=1),
        node("Sub", ["measures", "mean"], ["centred"]),
        node("Div", ["centred", "spread"], ["standardised"]),
        node("Concat", ["islands", "sexes", "clutch", "standardised"], ["features"], axis=1),
        node("Gemm", ["features", "weight", "bias"], ["logits"]),
        node("Softmax", ["logits"], ["probabilities"], axis=-1),
        node("ArgMax", ["logits"], ["best"], axis=-1, keepdims=0),
        graph.ml("LabelEncoder", ["best"], ["species"], keys_int64s=[0, 1, 2], values_strings=SPECIES),
    ]


def _doubt() -> list[onnx.NodeProto]:
    """How many of the six values that can be unfamiliar are: a measure outside the training range, an unknown word."""
    node = helper.make_node
    return [
        node("Less", ["measures", "least"], ["too_small"]),
        node("Greater", ["measures", "most"], ["too_large"]),
        node("Or", ["too_small", "too_large"], ["outside"]),
        node("Cast", ["outside"], ["outside_count"], to=onnx.TensorProto.INT64),
        graph.ml("LabelEncoder", ["island"], ["island_unknown"], **_unknown(ISLANDS)),
        graph.ml("LabelEncoder", ["sex"], ["sex_unknown"], **_unknown(SEXES)),
        node("Unsqueeze", ["island_unknown", "column"], ["island_count"]),
        node("Unsqueeze", ["sex_unknown", "column"], ["sex_count"]),
        node("Concat", ["outside_count", "island_count", "sex_count"], ["counts"], axis=1),
        node("ReduceSum", ["counts", "column"], ["unfamiliar"], keepdims=0),
        node("Equal", ["unfamiliar", "zero"], ["in_range"]),
    ]


def _unknown(words: tuple[str, ...]) -> dict[str, object]:
    return {"keys_strings": words, "values_int64s": [0] * len(words), "default_int64": 1}


def accuracy(model: onnx.ModelProto) -> float:
    """Share of the held-out penguins whose species the model names."""
    _, held_out = split()
    inputs = {name: held_out[name] for name, _, _ in INPUTS}
    return float(np.mean(graph.run(model, inputs)["species"] == held_out["species"]))


def request() -> dict[str, Any]:
    """The first held-out penguin of each species."""
    _, held_out = split()
    rows = [int(np.argmax(held_out["species"] == species)) for species in SPECIES]
    columns = {name: held_out[name][rows] for name, _, _ in INPUTS}
    columns["bill_mm"] = columns["bill_mm"].astype(np.float64).round(1)
    return {"inputs": [graph.tensor(spec, columns[spec[0]]) for spec in INPUTS]}


if __name__ == "__main__":
    model = make()
    graph.write("penguins", model, SPECIES, request())
    print(f"penguins: {accuracy(model):.4f} of the held-out penguins named correctly")
