"""Inputs made from a model's metadata."""

import numpy as np
import pytest

from headrace.datatypes import Datatype
from loadtest.inputs import Lengths, LogNormal, made, parse_shape
from loadtest.target import Model, Tensor

MODEL = Model(
    "m",
    "",
    (
        Tensor("ids", Datatype.INT64, (-1, -1)),
        Tensor("mask", Datatype.BOOL, (-1, -1)),
        Tensor("text", Datatype.BYTES, (-1,)),
        Tensor("fixed", Datatype.FP32, (2, 3)),
    ),
)


def test_values_are_of_the_datatype_and_shape_and_come_again_with_the_seed():
    first, again, other = (made(MODEL, {}, 4, 2, seed) for seed in (1, 1, 2))
    assert {name: (array.shape, array.dtype) for name, array in first[0].items()} == {
        "ids": ((4, 16), np.dtype("<i8")),
        "mask": ((4, 16), np.dtype("?")),
        "text": ((4,), np.dtype("O")),
        "fixed": ((2, 3), np.dtype("<f4")),
    }
    assert all(np.array_equal(first[1][name], again[1][name]) for name in first[1])
    assert not np.array_equal(first[0]["ids"], other[0]["ids"])


def test_axes_that_are_free_in_several_inputs_have_one_length():
    for each in made(MODEL, dict([parse_shape("ids=1,5..40")]), 1, 20, 1):
        assert 5 <= each["ids"].shape[1] <= 40
        assert each["mask"].shape == each["ids"].shape


def test_lengths_are_drawn_as_they_were_asked_for():
    random = np.random.default_rng(1)
    uniform = [Lengths(8, 64).draw(random) for _ in range(4000)]
    skewed = [LogNormal(24, 0.8).draw(random) for _ in range(4000)]
    assert (min(uniform), max(uniform)) == (8, 64)
    assert np.mean(uniform) == pytest.approx(36, rel=0.03)
    assert np.median(skewed) == pytest.approx(24, rel=0.05)
    assert np.std(np.log(skewed)) == pytest.approx(0.8, rel=0.05)


def test_shapes_are_parsed():
    assert parse_shape("x=8") == ("x", (Lengths(8, 8),))
    assert parse_shape("x=1,8..64,24~0.5") == ("x", (Lengths(1, 1), Lengths(8, 64), LogNormal(24, 0.5)))


@pytest.mark.parametrize(
    "text", ["x", "=8", "x=", "x=9..8", "x=-1", "x=a", "x=0~1", "x=8~", "x=8~-1", "x=8~9", "x=nan~1"]
)
def test_shapes_that_mean_nothing_are_a_sentence(text):
    with pytest.raises(ValueError, match=f"^--shape {text}: expected NAME=8"):
        parse_shape(text)
