"""Padding and batch mates change no answer of the language model, and its evidence adds up.

That training is repeatable is not tested: it takes some ten seconds. It was found so by hand, with one and two threads.
"""

import graph
import make_language
import numpy as np
import onnx
import pytest

MODEL = onnx.load(graph.HERE / "models" / "language" / "1" / "model.onnx")
TEXTS = ["Wo ist der Bahnhof?", "Var ligger tågstationen?", "Où est la gare, s'il vous plaît ?", "Kde?"]


def answer(tokens):
    return graph.run(MODEL, {"tokens": tokens})


@pytest.mark.parametrize("padding", [1, 7, 200])
def test_padded_text_gets_the_answer_of_the_text(padding):
    for text in TEXTS:
        tokens = make_language.tokens([text])
        plain, padded = answer(tokens), answer(np.pad(tokens, ((0, 0), (0, padding))))
        assert padded["language"].tolist() == plain["language"].tolist()
        np.testing.assert_allclose(padded["probabilities"], plain["probabilities"], rtol=1e-5)
        np.testing.assert_allclose(padded["evidence"][:, : tokens.shape[1]], plain["evidence"], rtol=1e-5, atol=1e-7)
        assert not padded["evidence"][:, tokens.shape[1] :].any()


def test_texts_of_several_lengths_get_the_same_answers_alone_and_together():
    together = answer(make_language.tokens(TEXTS))
    for row, text in enumerate(TEXTS):
        alone = answer(make_language.tokens([text]))
        assert alone["language"][0] == together["language"][row]
        np.testing.assert_allclose(alone["probabilities"][0], together["probabilities"][row], rtol=1e-5)


def test_evidence_and_bias_are_the_logit_of_the_winner():
    weights = {weight.name: onnx.numpy_helper.to_array(weight) for weight in MODEL.graph.initializer}
    found = answer(make_language.tokens(TEXTS))
    share = np.log(found["probabilities"])
    best = found["probabilities"].argmax(axis=1)
    logits = make_language.features(TEXTS) @ weights["weight"] + weights["bias"]
    np.testing.assert_allclose(found["evidence"].sum(axis=1) + weights["bias"][best], logits.max(axis=1), rtol=1e-4)
    np.testing.assert_allclose(share - share.max(axis=1)[:, None], logits - logits.max(axis=1)[:, None], atol=1e-4)


@pytest.mark.parametrize("tokens", [[[]], [[0]], [[-1, 300, 2**62]]], ids=["no text", "only padding", "no bytes"])
def test_every_int64_is_answered(tokens):
    found = answer(np.array(tokens, np.int64))
    np.testing.assert_allclose(found["probabilities"].sum(axis=1), 1, rtol=1e-5)
    assert found["evidence"].shape == np.shape(tokens)


def test_no_held_out_text_is_in_the_training_half():
    train, held_out = make_language.split()
    known = {make_language.letters(text) for text, _ in train}
    assert not any(make_language.letters(text) in known for text, _ in held_out)
