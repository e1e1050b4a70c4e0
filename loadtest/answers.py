"""Is an answer right? Compared with one that is known: given, computed, or the first that came for the same input.

The bytes of an answer are compared first: most are the same. Only where they differ are its tensors read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from loadtest.connection import Answer
from loadtest.tensors import Tensors

Decode: TypeAlias = Callable[[Answer], Tensors]
"""Reads the tensors in an answer; can be told another process. May raise anything for what is none."""
ABSOLUTE, RELATIVE = 1e-4, 1e-3


@dataclass(frozen=True, slots=True)
class Tolerance:
    """A number may differ by `absolute` + `relative` x the expected one."""

    absolute: float = ABSOLUTE
    relative: float = RELATIVE


class Check:
    """What one shot's answers should be. `expected` None: what the first answer was."""

    __slots__ = ("_body", "_decode", "_expected", "_tolerance")

    def __init__(self, decode: Decode, tolerance: Tolerance, expected: Tensors | None = None) -> None:
        self._decode = decode
        self._expected = expected
        self._tolerance = tolerance
        self._body: bytes | None = None

    def wrong(self, answer: Answer) -> str:
        """What is wrong with it; "" if nothing is."""
        if answer.body == self._body:
            return ""
        try:
            found = self._decode(answer)
        except Exception as error:  # whatever a server may write
            return f"the answer cannot be read: {type(error).__name__}: {error}"
        if self._expected is None:
            self._expected = found
        difference = _difference(found, self._expected, self._tolerance)
        if not difference:
            self._body = answer.body
        return difference


def _difference(found: Tensors, expected: Tensors, tolerance: Tolerance) -> str:
    for name, array in expected.items():
        if name not in found:
            return f"output {name!r} is missing"
        other = found[name]
        if other.shape != array.shape:
            return f"output {name!r} has shape {list(other.shape)}, expected {list(array.shape)}"
        if array.dtype.kind in "OUS" or other.dtype.kind in "OUS":
            alike = np.array_equal(other, array)
        else:
            alike = np.allclose(
                other.astype(np.float64),
                array.astype(np.float64),
                rtol=tolerance.relative,
                atol=tolerance.absolute,
                equal_nan=True,
            )
        if not alike:
            return f"output {name!r} has other values than expected"
    return ""
