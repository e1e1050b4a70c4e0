"""How does a new version's answer to a request differ from the old one's? Pure.

Names, datatypes and shapes must be the same, NaN may only be where it was, values may differ within a tolerance if one
is configured. The answer is half a sentence that names the output, the place and the numbers; None for no difference.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from headrace.config import Tolerance
from headrace.datatypes import BY_NUMPY
from headrace.requests import Array


def difference(old: Mapping[str, Array], new: Mapping[str, Array], tolerance: Tolerance | None) -> str | None:
    """The first difference that counts between the outputs of two versions."""
    if old.keys() != new.keys():
        return f"the outputs are {_listed(new)}, they were {_listed(old)}"
    for name, was in old.items():
        found = _of_one(name, was, new[name], tolerance)
        if found:
            return f"output {name!r} {found}"
    return None


def _of_one(name: str, was: Array, now: Array, tolerance: Tolerance | None) -> str | None:
    if was.dtype != now.dtype:
        return f"is {BY_NUMPY[now.dtype].value}, it was {BY_NUMPY[was.dtype].value}"
    if was.shape != now.shape:
        return f"has shape {list(now.shape)}, it was {list(was.shape)}"
    if was.dtype.kind in "OSU":
        return _of_texts(was, now) if tolerance is not None else None
    before, after = (np.atleast_1d(array).astype(np.longdouble) for array in (was, now))  # holds any INT64
    spoilt = np.isnan(after) & ~np.isnan(before)
    if spoilt.any():
        return f"is NaN at {_place(spoilt, was)}, it was {before[_first(spoilt)]:g}"
    return _of_values(before, after, was, tolerance) if tolerance is not None else None


def _of_values(before: Array, after: Array, was: Array, tolerance: Tolerance) -> str | None:
    with np.errstate(invalid="ignore"):  # infinity less infinity
        gap = np.where(before == after, 0.0, np.abs(after - before))
        gap[np.isnan(before) & np.isnan(after)] = 0.0
        excess = gap - (tolerance.absolute + tolerance.relative * np.abs(before))
    wrong = ~(excess <= 0.0) & (gap != 0.0)
    if not wrong.any():
        return None
    worst = np.zeros_like(wrong)
    worst[np.unravel_index(np.argmax(np.where(wrong, np.nan_to_num(gap, nan=np.inf), -1.0)), gap.shape)] = True
    at = _first(worst)
    return (
        f"differs by {gap[at]:.6g} at {_place(worst, was)}: {after[at]:.6g}, it was {before[at]:.6g}, "
        f"allowed are {tolerance.absolute:g} + {tolerance.relative:g} of it"
    )


def _of_texts(was: Array, now: Array) -> str | None:
    wrong = np.atleast_1d(was != now)
    if not wrong.any():
        return None
    at = _first(wrong)
    return (
        f"is {str(np.atleast_1d(now)[at])[:50]!r} at {_place(wrong, was)}, it was {str(np.atleast_1d(was)[at])[:50]!r}"
    )


def _first(where: Array) -> tuple[int, ...]:
    return tuple(int(index) for index in np.argwhere(where)[0])


def _place(where: Array, shaped: Array) -> list[int]:
    return list(_first(where)) if shaped.ndim else []


def _listed(outputs: Mapping[str, Array]) -> str:
    return ", ".join(map(repr, sorted(outputs)))
