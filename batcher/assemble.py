"""Put requests together along axis 0 and take their answers apart: the only place where shapes change.

`split(concat(requests))` gives every request exactly its own rows. Entries of a batch have the same input names,
datatypes and trailing shapes; that is what their common key says. Where they have lengths of their own, `pad` takes the
place of `concat`, and `cut_back` follows `split`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from headrace.errors import ExecutorFailed
from headrace.padding import Padded
from headrace.requests import Array


def concat(parts: Sequence[Mapping[str, Array]]) -> Mapping[str, Array]:
    """One mapping with the rows of all parts in order. A single part is handed on as it is."""
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def pad(
    parts: Sequence[Mapping[str, Array]], lengths: Sequence[int], padded: Mapping[str, Padded]
) -> Mapping[str, Array]:
    """As `concat`, of parts of different `lengths`: the `padded` inputs are filled up to the longest."""
    whole = {}
    for name in parts[0]:
        arrays = [part[name] for part in parts]
        how = padded.get(name)
        whole[name] = np.concatenate(arrays) if how is None else _filled_up(arrays, lengths, how)
    return whole


def _filled_up(arrays: Sequence[Array], lengths: Sequence[int], how: Padded) -> Array:
    shape = list(arrays[0].shape)
    shape[0], shape[how.axis] = sum([len(array) for array in arrays]), max(lengths)
    filled = np.full(shape, how.value, arrays[0].dtype)
    before = (slice(None),) * (how.axis - 1)
    start = 0
    for array, length in zip(arrays, lengths, strict=True):
        stop = start + len(array)
        filled[(slice(start, stop), *before, slice(length))] = array
        start = stop
    return filled


def cut_back(outputs: Mapping[str, Array], length: int, axes: Mapping[str, Sequence[int]]) -> dict[str, Array]:
    """Views on `outputs`: of each, the first `length` along its `axes`."""
    cut = dict(outputs)
    for name, each in axes.items():
        array = outputs[name]
        cut[name] = array[tuple([slice(length) if axis in each else slice(None) for axis in range(array.ndim)])]
    return cut


def split(outputs: Mapping[str, Array], rows: Sequence[int]) -> list[dict[str, Array]]:
    """Views on `outputs`: the first `rows[0]` rows, the next `rows[1]`, and so on. A single part gets all as it is.

    Raises ExecutorFailed if an output has not exactly `sum(rows)` rows.
    """
    total = sum(rows)
    for name, array in outputs.items():
        if array.ndim == 0 or array.shape[0] != total:
            found = "a scalar" if array.ndim == 0 else f"{array.shape[0]} rows"
            raise ExecutorFailed(f"the model answered a batch of {total} rows with {found} in output {name!r}")
    if len(rows) == 1:
        return [dict(outputs)]
    parts: list[dict[str, Array]] = [{} for _ in rows]
    for name, array in outputs.items():
        start = 0
        for part, count in zip(parts, rows, strict=True):
            stop = start + count
            part[name] = array[start:stop]
            start = stop
    return parts
