"""One way of padding, tried on a model: are rows of different lengths the same together as alone?

Receives what is padded with what, and a runner; says what is wrong, or nothing. All synthetic values lie above the
filling, then all below: a maximum over all positions shows by the latter only. Values that the model does not take
(indices past the end) say nothing. Outputs that differ between two identical runs are not compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from executor.failures import readable
from executor.likeness import exact
from executor.metadata import Signature
from executor.runners import Runner
from executor.samples import samples
from headrace.datatypes import Datatype
from headrace.padding import Filling, Mask, Padded
from headrace.requests import Array

LENGTHS = (17, 5, 4)
"""Of the rows, in quarters of what the model is known to take."""
SIGNS_AND_SPREADS = ((1, 3), (1, 1), (-1, 3), (-1, 1))
"""Above and below the filling, in some steps. One of each sign that the model takes is enough."""


class PaddingTrial:
    """After a `complaint()` of None, `outputs` has the axes at which answers are cut back."""

    def __init__(
        self, signature: Signature, inputs: Mapping[str, Padded], mask: Mask | None, run: Runner, free: int
    ) -> None:
        self.outputs: dict[str, tuple[int, ...]] = {}
        self._datatypes = {spec.name: spec.datatype for spec in signature.inputs}
        self._inputs = inputs
        self._mask = mask
        self._run = run
        self._lengths = [quarters * free // 4 for quarters in LENGTHS]
        self._base = samples(signature, len(LENGTHS), self._lengths[0])

    def complaint(self) -> str | None:
        """Why this padding is not exact, or cannot be tried; None if it is."""
        failure = ""
        tried = set()
        for sign, rows in self._values():
            if sign in tried:
                continue
            try:
                alone = [self._run(self._alone(rows, row)) for row in range(len(LENGTHS))]
                again = self._run(self._alone(rows, 0))
            except Exception as error:
                failure = failure or readable(str(error))
                continue
            tried.add(sign)
            steady = [name for name in again if exact(alone[0][name], again[name])]
            found = self._find_axes(alone) or self._compare(rows, alone, steady)
            if found is not None:
                return found
        return None if tried else f"it could not be tried, as synthetic inputs fail: {failure}"

    def _values(self) -> Iterator[tuple[int, dict[str, Array]]]:
        """Inputs whose real values are not the filling; last the usual ones."""
        for sign, spread in SIGNS_AND_SPREADS:
            rng = np.random.default_rng(0)
            rows = dict(self._base)
            for name, padded in self._inputs.items():
                values = beside(padded.value, self._datatypes[name], rows[name].shape, sign, spread, rng)
                if values is not None:
                    rows[name] = values
            yield sign, self._all_real(rows)
        yield 0, self._all_real(dict(self._base))

    def _all_real(self, rows: dict[str, Array]) -> dict[str, Array]:
        if self._mask is not None:
            rows[self._mask.name] = np.full_like(rows[self._mask.name], self._mask.real)
        return rows

    def _alone(self, rows: Mapping[str, Array], row: int) -> dict[str, Array]:
        found = {name: array[row : row + 1] for name, array in rows.items()}
        for name, padded in self._inputs.items():
            found[name] = found[name][_up_to(self._lengths[row], padded.axis)]
        return found

    def _find_axes(self, alone: list[dict[str, Array]]) -> str | None:
        """Which axes of the outputs are as long as the inputs were; or which one is neither that nor constant."""
        for name in alone[0]:
            axes = []
            for axis, lengths in enumerate(zip(*(each[name].shape for each in alone), strict=True)):
                if list(lengths) == self._lengths:
                    axes.append(axis)
                elif len(set(lengths)) > 1:
                    return f"axis {axis} of output {name!r} is {list(lengths)} long for lengths {self._lengths}"
            if axes:
                self.outputs[name] = tuple(axes)
        return None

    def _compare(self, rows: Mapping[str, Array], alone: list[dict[str, Array]], steady: list[str]) -> str | None:
        padded = {name: array.copy() for name, array in rows.items()}
        for name, how in self._inputs.items():
            for row, length in enumerate(self._lengths):
                padded[name][row][_from(length, how.axis - 1)] = how.value
        try:
            together = self._run(padded)
        except Exception as error:
            return f"a padded batch fails where each row alone does not: {readable(str(error))}"
        for name in steady:
            for row, length in enumerate(self._lengths):
                found = together[name][row : row + 1]
                for axis in self.outputs.get(name, ()):
                    found = found[_up_to(length, axis)]
                if not exact(found, alone[row][name]):
                    return (
                        f"output {name!r} is another one when a row of {length} is padded to {max(self._lengths)}"
                        f"{_by_how_much(found, alone[row][name])}"
                    )
        return None


def beside(
    filling: Filling, datatype: Datatype, shape: tuple[int, ...], sign: int, spread: int, rng: np.random.Generator
) -> Array | None:
    """Values that are all above (`sign` 1) or below the filling, by some `spread`; None if there are none."""
    if isinstance(filling, str):
        texts = np.array([f"{filling}{letter}" for letter in "abc"[:spread]], object)
        return None if sign < 0 else texts[rng.integers(0, spread, shape)]
    if datatype is Datatype.BOOL:
        return None if sign < 0 else np.full(shape, not filling)
    if datatype.is_float:
        return (filling + sign * (0.1 + rng.random(shape) * spread)).astype(datatype.numpy)
    values = filling + sign * (1 + rng.integers(0, spread, shape))
    if "UINT" in datatype.wire and values.size and values.min() < 0:
        return None
    return values.astype(datatype.numpy)


def _up_to(length: int, axis: int) -> tuple[slice, ...]:
    return (*(slice(None),) * axis, slice(length))


def _from(length: int, axis: int) -> tuple[slice, ...]:
    return (*(slice(None),) * axis, slice(length, None))


def _by_how_much(found: Array, expected: Array) -> str:
    if found.shape != expected.shape:
        return f": shape {list(found.shape)}, it is {list(expected.shape)} alone"
    if found.dtype.kind != "f" or not found.size:
        return ""
    return f", by {float(np.abs(found - expected).max()):.2g}"
