import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from batcher.assemble import concat, split
from headrace.datatypes import Datatype
from headrace.errors import ExecutorFailed


@st.composite
def parts_of_one_key(draw):
    """Arrays of one datatype and trailing shape, each with rows of its own, none included."""
    datatype = draw(st.sampled_from(Datatype))
    tail = draw(hnp.array_shapes(min_dims=0, max_dims=2, max_side=3))
    shapes = [(rows, *tail) for rows in draw(st.lists(st.integers(0, 4), min_size=1, max_size=6))]
    if datatype is Datatype.BYTES:
        return [draw(hnp.arrays(object, shape, elements=st.text(max_size=3))) for shape in shapes]
    bits = np.dtype(f"u{datatype.item_bytes}")
    if datatype is Datatype.BOOL:
        bits = datatype.numpy
    return [draw(hnp.arrays(bits, shape)).view(datatype.numpy) for shape in shapes]


def same(one, other):
    if one.dtype == object:
        return one.shape == other.shape and one.tolist() == other.tolist()
    return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())


@settings(deadline=None)
@given(parts_of_one_key())
def test_splitting_what_was_put_together_gives_everyone_its_own_rows(parts):
    whole = dict(concat([{"x": part, "y": part} for part in parts]))

    back = split(whole, [len(part) for part in parts])

    assert len(back) == len(parts)
    for part, again in zip(parts, back, strict=True):
        assert list(again) == ["x", "y"]
        assert same(part, again["x"])
        assert same(part, again["y"])


def test_a_single_part_is_handed_on_as_it_is():
    part = {"x": np.arange(6).reshape(3, 2).T}
    assert concat([part]) is part


def test_answers_are_views_on_the_batch():
    whole = np.zeros((3, 2))
    first, second = split({"y": whole}, [1, 2])
    assert first["y"].base is whole
    assert second["y"].base is whole


@pytest.mark.parametrize("wrong", [np.zeros((2, 1)), np.zeros((4, 1)), np.zeros((0, 3)), np.float32(0)])
def test_a_wrong_number_of_rows_is_an_error_that_names_the_output(wrong):
    with pytest.raises(ExecutorFailed, match=r"batch of 3 rows .* output 'y'"):
        split({"x": np.zeros(3), "y": np.asarray(wrong)}, [1, 2])
