"""Are two outputs of a model the same, but for rounding? Pure.

Kernels choose other instructions for other batch sizes, so equal rows come out equal only within their precision:
compared are differences to the largest element, since small elements are often what cancellation left over.
"""

from __future__ import annotations

import numpy as np

from headrace.requests import Array

_RTOL, _ATOL = 1e-3, 1e-4
_COARSE = {"float16": 4e-3, "bfloat16": 3e-2}
"""Four times the spacing of these types, past which rounding alone does not go."""


EXACT = 1e-5
"""Share of the largest element by which FP32 and FP64 may differ to be called the same."""


def alike(one: Array, other: Array) -> bool:
    """Same shape and dtype; floats within rounding, NaN equal to NaN; everything else exactly equal."""
    return _within(one, other, _RTOL, _ATOL)


def exact(one: Array, other: Array) -> bool:
    """As `alike`, with a hundredth of its allowance: the same computation in another order, and nothing else."""
    return _within(one, other, EXACT, EXACT)


def _within(one: Array, other: Array, rtol: float, atol: float) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    coarse = _COARSE.get(one.dtype.name)
    if coarse is None and one.dtype.kind != "f":
        return bool(np.array_equal(one, other))
    a, b = one.astype(np.float64), other.astype(np.float64)
    finite = np.isfinite(a)
    scale = float(np.abs(a[finite]).max(initial=0.0))
    return bool(np.allclose(a, b, rtol=0.0, atol=(coarse or atol) + (coarse or rtol) * scale, equal_nan=True))
