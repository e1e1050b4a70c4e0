import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from batcher.assemble import concat, split
from headrace.datatypes import Datatype
from headrace.errors import ExecutorFailed

NUMERIC = [each.numpy for each in Datatype if each not in (Datatype.BYTES, Datatype.BF16)]


@given(st.data(), st.sampled_from(NUMERIC), st.lists(st.integers(0, 4), min_size=1, max_size=6))
def test_splitting_what_was_put_together_gives_everyone_its_own_rows(data, dtype, rows):
    tail = data.draw(hnp.array_shapes(min_dims=0, max_dims=2, max_side=3))
    parts = [{"x": data.draw(hnp.arrays(dtype, (count, *tail)))} for count in rows]

    back = split(dict(concat(parts)), rows)

    for part, again in zip(parts, back, strict=True):
        assert again["x"].dtype == dtype
        assert again["x"].shape == part["x"].shape
        assert again["x"].tobytes() == part["x"].tobytes()


def test_texts_keep_their_request():
    parts = [{"t": np.array(["a", "é"], object)}, {"t": np.array([""], object)}]

    back = split(dict(concat(parts)), [2, 1])

    assert [each["t"].tolist() for each in back] == [["a", "é"], [""]]


@pytest.mark.parametrize("wrong", [np.zeros((2, 1)), np.zeros((4, 1)), np.float32(0)])
def test_a_wrong_number_of_rows_is_an_error_that_names_the_output(wrong):
    with pytest.raises(ExecutorFailed, match=r"batch of 3 rows .* output 'y'"):
        split({"y": np.asarray(wrong)}, [1, 2])
