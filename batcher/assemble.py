"""Put requests together along axis 0 and take their answers apart: the only place where shapes change.

`split(concat(requests))` gives every request exactly its own rows. Entries of a batch have the same input names,
datatypes and trailing shapes; that is what their common key says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from headrace.errors import ExecutorFailed
from headrace.requests import Array


def concat(parts: Sequence[Mapping[str, Array]]) -> Mapping[str, Array]:
    """One mapping with the rows of all parts in order. A single part is handed on as it is."""
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


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
    parts = []
    start = 0
    for count in rows:
        stop = start + count
        parts.append({name: array[start:stop] for name, array in outputs.items()})
        start = stop
    return parts
