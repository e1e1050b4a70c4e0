import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from server.recent import Recent


def sample(bytes_):
    return {"x": np.zeros(bytes_ // 2, np.int8)}, {"y": np.zeros(bytes_ - bytes_ // 2, np.int8)}


@given(st.lists(st.integers(0, 40)), st.integers(0, 5), st.integers(1, 100))
def test_the_last_requests_stay_within_their_number_and_their_bytes(sizes, most, most_bytes):
    recent = Recent(most, most_bytes)
    for size in sizes:
        recent.keep(*sample(size))
    kept = [one.size for one in recent.samples()]
    assert len(kept) <= most
    assert sum(kept) <= most_bytes
    fitting = [size for size in sizes if size <= most_bytes]
    assert kept == fitting[len(fitting) - len(kept) :]
    if most and fitting:
        assert kept


def test_an_answer_is_copied_out_of_its_batch():
    batch = np.ones((1000, 2), np.float32)
    recent = Recent(1, 1 << 10)
    recent.keep({"x": batch[:1]}, {"y": batch[:1]})
    batch[:] = 0
    assert recent.samples()[0].outputs["y"].base is None
    assert recent.samples()[0].outputs["y"].tolist() == [[1, 1]]
