"""Rows of digits are independent, and training is repeatable."""

import graph
import make_digits
import numpy as np
import onnx


def test_image_is_read_alone_as_in_a_batch():
    model = onnx.load(graph.HERE / "models" / "digits" / "1" / "model.onnx")
    _, held_out, _, _ = make_digits.split()
    together = graph.run(model, {"pixels": held_out[:8]})
    for row in range(8):
        alone = graph.run(model, {"pixels": held_out[row : row + 1]})
        assert alone["digit"][0] == together["digit"][row]
        np.testing.assert_allclose(alone["probabilities"][0], together["probabilities"][row], rtol=1e-4, atol=1e-7)


def test_probabilities_add_up_to_one():
    model = onnx.load(graph.HERE / "models" / "digits" / "1" / "model.onnx")
    _, held_out, _, _ = make_digits.split()
    np.testing.assert_allclose(graph.run(model, {"pixels": held_out})["probabilities"].sum(axis=1), 1, rtol=1e-5)


def test_training_again_gives_the_same_bytes():
    # Some ten of the 270 epochs: the whole of it takes seconds.
    once, again = (make_digits.make(enough=1.0).SerializeToString(deterministic=True) for _ in range(2))
    assert once == again
