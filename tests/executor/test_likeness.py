"""Equal but for rounding: tables."""

import ml_dtypes
import numpy as np
import pytest

from executor.likeness import alike

F4 = np.float32


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (np.array([1.0, 2.0], F4), np.array([1.0, 2.0], F4), True),
        (np.array([1.0, 2.0], F4), np.array([1.0, 2.0005], F4), True),
        (np.array([1.0, 2.0], F4), np.array([1.0, 2.01], F4), False),
        (np.array([1e-6, 1000.0], F4), np.array([0.5, 1000.0], F4), True),  # what cancellation left over
        (np.array([np.nan, np.inf], F4), np.array([np.nan, np.inf], F4), True),
        (np.array([np.nan], F4), np.array([1.0], F4), False),
        (np.array([np.inf], F4), np.array([-np.inf], F4), False),
        (np.array([1.0], F4), np.array([1.0], np.float64), False),
        (np.zeros((2, 1), F4), np.zeros(2, F4), False),
        (np.zeros((0, 3), F4), np.zeros((0, 3), F4), True),
        (np.array([1.0], np.float16), np.array([1.004], np.float16), True),
        (np.array([1.0], np.float16), np.array([1.1], np.float16), False),
        (np.array([1.0], ml_dtypes.bfloat16), np.array([1.03], ml_dtypes.bfloat16), True),
        (np.array([1.0], ml_dtypes.bfloat16), np.array([1.5], ml_dtypes.bfloat16), False),
        (np.array([1, 2]), np.array([1, 2]), True),
        (np.array([1, 2]), np.array([1, 3]), False),
        (np.array([True]), np.array([False]), False),
        (np.array(["a", "é"], object), np.array(["a", "é"], object), True),
        (np.array(["a"], object), np.array(["b"], object), False),
    ],
)
def test_alike(one, other, expected):
    assert alike(one, other) is expected
