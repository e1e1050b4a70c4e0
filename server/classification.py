"""Triton's classification extension: the n best classes of an output instead of the output.

Wire format (Triton, `extension_classification.md`): a BYTES tensor with one string `value:index[:label]` per class, in
descending order of value, per row: shape [rows, n], or [n] for a model without a batch axis.
"""

from __future__ import annotations

import math

import numpy as np

from headrace.datatypes import BY_NUMPY, Datatype
from headrace.errors import BadRequest
from headrace.models import ModelMetadata
from headrace.requests import Array, RequestedOutput


def chosen_form(wish: RequestedOutput, output: Array, metadata: ModelMetadata) -> Array:
    """`output` as `wish` wants it: itself, or its best classes. Raises BadRequest if it has none."""
    if not wish.classification:
        return output
    labels = next(spec.labels for spec in metadata.outputs if spec.name == wish.name)
    return classify(wish.name, output, wish.classification, labels, batched=metadata.batchable)


def classify(name: str, output: Array, count: int, labels: tuple[str, ...], *, batched: bool) -> Array:
    """The `count` largest values (fewer if there are fewer classes) per row, ties by index, as BYTES."""
    datatype = BY_NUMPY[output.dtype]
    if datatype in (Datatype.BYTES, Datatype.BOOL):
        raise BadRequest(f"output {name!r} is {datatype.value}: classification needs numbers")
    rows = output.reshape(len(output), math.prod(output.shape[1:])) if batched else output.reshape(1, output.size)
    best = np.argsort(-rows.astype(np.float64), axis=1, kind="stable")[:, :count]
    answer = np.empty(best.shape, dtype=object)
    for at, index in np.ndenumerate(best):
        label = f":{labels[index]}" if index < len(labels) else ""
        answer[at] = f"{float(rows[at[0], index]):f}:{index}{label}"
    return answer if batched else answer[0]
