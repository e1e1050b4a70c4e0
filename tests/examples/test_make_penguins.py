"""Rows of penguins are independent, unfamiliar values are counted, and training is repeatable."""

import graph
import make_penguins
import numpy as np
import onnx
import pytest

MODEL = onnx.load(graph.HERE / "models" / "penguins" / "1" / "model.onnx")


def penguins(rows=slice(None)):
    _, held_out = make_penguins.split()
    return {name: held_out[name][rows] for name, _, _ in make_penguins.INPUTS}


def test_penguin_gets_the_same_answer_alone_and_in_a_batch():
    together = graph.run(MODEL, penguins())
    for row in range(8):
        alone = graph.run(MODEL, penguins(slice(row, row + 1)))
        for name in ("species", "unfamiliar", "in_range"):
            assert alone[name].tolist() == together[name][row : row + 1].tolist()
        np.testing.assert_allclose(alone["probabilities"][0], together["probabilities"][row], rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "unfamiliar"),
    [
        ({}, 0),
        ({"island": "Elephant"}, 1),
        ({"sex": ""}, 1),
        ({"body_mass_g": 9000}, 1),
        ({"flipper_mm": 1, "body_mass_g": 1}, 2),
        ({"bill_mm": [1.0, 100.0], "island": "", "sex": "?"}, 4),
    ],
)
def test_unfamiliar_values_are_counted_and_answered(change, unfamiliar):
    inputs = penguins(slice(0, 1))
    for name, value in change.items():
        inputs[name] = np.array([value], inputs[name].dtype)
    found = graph.run(MODEL, inputs)
    assert found["unfamiliar"].tolist() == [unfamiliar]
    assert found["in_range"].tolist() == [unfamiliar == 0]
    assert found["species"][0] in make_penguins.SPECIES


def test_clutch_and_strings_reach_the_regression():
    first = penguins(slice(0, 1))
    probabilities = graph.run(MODEL, first)["probabilities"]
    for name, value in (("clutch_complete", not first["clutch_complete"][0]), ("island", "Biscoe"), ("sex", "female")):
        changed = {**first, name: np.array([value], first[name].dtype)}
        assert not np.allclose(graph.run(MODEL, changed)["probabilities"], probabilities)


def test_graph_computes_what_the_regression_does_on_its_features():
    weights = {weight.name: onnx.numpy_helper.to_array(weight) for weight in MODEL.graph.initializer}
    _, held_out = make_penguins.split()
    features = make_penguins.features(held_out, weights["mean"], weights["spread"])
    powers = np.exp(features @ weights["weight"] + weights["bias"])
    expected = powers / powers.sum(axis=1)[:, None]
    np.testing.assert_allclose(graph.run(MODEL, penguins())["probabilities"], expected, rtol=1e-4, atol=1e-7)


def test_training_again_gives_the_same_bytes():
    assert make_penguins.make() == make_penguins.make()
