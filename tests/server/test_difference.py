import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from headrace.config import Tolerance
from server.difference import difference

EXACT, NEAR = Tolerance(), Tolerance(absolute=0.01, relative=0.1)
NAN, INF = np.nan, np.inf


def floats(*values):
    return np.array(values, np.float32)


@pytest.mark.parametrize(
    ("old", "new", "tolerance", "expected"),
    [
        ({"y": floats(1)}, {"y": floats(1)}, EXACT, None),
        ({"y": floats(1)}, {"y": floats(2)}, None, None),  # values are not compared unless it is wanted
        ({"y": floats(1)}, {"y": floats(NAN)}, None, "output 'y' is NaN at [0], it was 1"),
        ({"y": floats(NAN)}, {"y": floats(NAN)}, EXACT, None),  # as before
        ({"y": floats(NAN)}, {"y": floats(1)}, EXACT, "output 'y' differs by nan at [0]: 1, it was nan"),
        ({"y": floats(INF)}, {"y": floats(INF)}, EXACT, None),
        ({"y": floats(INF)}, {"y": floats(-INF)}, NEAR, "output 'y' differs by inf at [0]: -inf, it was inf"),
        ({"y": floats(1)}, {"y": floats(INF)}, NEAR, "output 'y' differs by inf at [0]: inf, it was 1"),
        ({"y": floats(10, 10)}, {"y": floats(10, 11)}, NEAR, None),
        (
            {"y": floats(10, 10, 10)},
            {"y": floats(10, 12, 13)},
            NEAR,
            "output 'y' differs by 3 at [2]: 13, it was 10, allowed are 0.01 + 0.1 of it",
        ),
        ({"y": np.float32(1)}, {"y": np.float32(2)}, EXACT, "output 'y' differs by 1 at []"),
        ({"y": floats(1)}, {"z": floats(1)}, None, "the outputs are 'z', they were 'y'"),
        ({"y": floats(1)}, {"y": floats(1), "z": floats(1)}, None, "the outputs are 'y', 'z', they were 'y'"),
        ({"y": floats(1)}, {"y": np.array([1.0])}, None, "output 'y' is FP64, it was FP32"),
        ({"y": floats(1)}, {"y": floats(1, 1)}, None, "output 'y' has shape [2], it was [1]"),
        ({"y": np.array([2**62])}, {"y": np.array([2**62 + 1])}, EXACT, "output 'y' differs by 1 at [0]"),
        ({"y": np.array([True])}, {"y": np.array([False])}, EXACT, "output 'y' differs by 1 at [0]"),
        ({"y": np.array(["a"], object)}, {"y": np.array(["b"], object)}, EXACT, "output 'y' is 'b' at [0], it was 'a'"),
        ({"y": np.array(["a"], object)}, {"y": np.array(["b"], object)}, None, None),
        ({"y": np.zeros((0, 3))}, {"y": np.zeros((0, 3))}, EXACT, None),
    ],
)
def test_difference(old, new, tolerance, expected):
    found = difference(old, new, tolerance)
    assert found == expected or (expected is not None and found is not None and found.startswith(expected))


ANY = arrays.arrays(np.float32, (2, 3), elements=st.floats(width=32))


@given(ANY, ANY, st.floats(0, 10), st.floats(0, 1))
def test_a_difference_is_found_exactly_if_some_value_is_outside_the_tolerance(old, new, absolute, relative):
    def within(was, now):
        if np.isnan(was) or np.isnan(now):
            return bool(np.isnan(was) and np.isnan(now))
        was, now = np.longdouble(was), np.longdouble(now)
        return was == now or (
            np.isfinite(was) and np.isfinite(now) and abs(now - was) <= absolute + relative * abs(was)
        )

    expected = all(map(within, old.ravel(), new.ravel()))
    tolerance = Tolerance(absolute=absolute, relative=relative)
    assert (difference({"y": old}, {"y": new}, tolerance) is None) == expected
