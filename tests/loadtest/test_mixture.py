"""Several models' requests in one order."""

from collections import Counter

import pytest

from loadtest import mixture


def test_each_model_comes_as_often_as_its_weight_says_all_along():
    order = mixture.mixed([(["a"], 3.0), (["b"], 1.0)])
    assert Counter(order) == {"a": 3, "b": 1}
    order = mixture.mixed([(["a"], 0.7), (["b"], 0.2), (list("cdef"), 0.1)])
    for end in range(1, len(order) + 1):
        assert abs(Counter(order[:end])["a"] - 0.7 * end) < 1
    assert Counter(order) == {"a": 28, "b": 8, "c": 1, "d": 1, "e": 1, "f": 1}


def test_models_of_one_weight_take_turns():
    assert mixture.mixed([([1, 2], 1.0), ([3, 4], 1.0)]) == [1, 3, 2, 4]


def test_weights_are_parsed():
    assert mixture.parse(["a=3", "b/2", "c=0.5"]) == {"a": 3.0, "b/2": 1.0, "c": 0.5}


@pytest.mark.parametrize("text", ["a=", "=3", "a=0", "a=-1", "a=x", "a=inf", "a=nan"])
def test_weights_that_mean_nothing_are_a_sentence(text):
    with pytest.raises(ValueError, match=f"^--model {text}: expected NAME"):
        mixture.parse([text])


def test_weights_too_far_apart_are_a_sentence():
    with pytest.raises(ValueError, match="at most 1 to 1000"):
        mixture.parse(["a=1001", "b=1"])
