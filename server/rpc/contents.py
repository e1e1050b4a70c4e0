"""Typed tensor contents (`InferTensorContents`) -> arrays.

Wire format: Open Inference Protocol, gRPC, `InferTensorContents`: eight repeated fields of which each datatype uses
one, flat and row-major. The 8 and 16 bit integers travel in 32 bit fields, so their ranges are checked here; FP16 and
BF16 have no field. Nothing is converted between datatypes: numbers in another field than the datatype's are an error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from headrace.datatypes import Datatype
from headrace.errors import BadRequest
from headrace.requests import Array
from server.wire import checked_shape, shaped, text

FIELDS: dict[Datatype, str] = {
    Datatype.BOOL: "bool_contents",
    Datatype.INT8: "int_contents",
    Datatype.INT16: "int_contents",
    Datatype.INT32: "int_contents",
    Datatype.INT64: "int64_contents",
    Datatype.UINT8: "uint_contents",
    Datatype.UINT16: "uint_contents",
    Datatype.UINT32: "uint_contents",
    Datatype.UINT64: "uint64_contents",
    Datatype.FP32: "fp32_contents",
    Datatype.FP64: "fp64_contents",
    Datatype.BYTES: "bytes_contents",
}
"""Datatype -> the field its values are in."""

_NARROW = {
    Datatype.INT8: np.dtype("<i4"),
    Datatype.INT16: np.dtype("<i4"),
    Datatype.UINT8: np.dtype("<u4"),
    Datatype.UINT16: np.dtype("<u4"),
}
"""Datatypes whose field can hold more than they can -> the field's dtype."""


def from_contents(tensor: str, datatype: Datatype, shape: Sequence[int], contents: Any) -> Array:
    """The tensor in `contents`, all of it. BadRequest names the tensor, what was expected and found."""
    dims = checked_shape(tensor, shape)
    field = FIELDS.get(datatype)
    if field is None:
        raise BadRequest(
            f"tensor {tensor!r} is {datatype.value}, which has no typed contents: it goes into raw_input_contents"
        )
    for descriptor, _ in contents.ListFields():
        if descriptor.name != field:
            raise BadRequest(
                f"tensor {tensor!r} is {datatype.value}, whose values go into {field}, the request has"
                f" {descriptor.name}"
            )
    values = getattr(contents, field)
    count = math.prod(dims)
    if len(values) != count:
        raise BadRequest(
            f"tensor {tensor!r} of datatype {datatype.value} and shape {list(dims)} takes {count} values in {field},"
            f" the request has {len(values)}"
        )
    return shaped(tensor, _flat(tensor, datatype, values), dims)


def _flat(tensor: str, datatype: Datatype, values: Any) -> Array:
    if datatype is Datatype.BYTES:
        texts = np.empty(len(values), dtype=object)
        for index, value in enumerate(values):
            texts[index] = text(tensor, index, value)
        return texts
    wide = _NARROW.get(datatype)
    if wide is None:
        return np.array(values[:], datatype.numpy)  # [:] is a list, made in C: faster to read than the field itself
    array = np.array(values[:], wide)
    limits = np.iinfo(datatype.numpy)
    outside = (array < limits.min) | (array > limits.max)
    if outside.any():
        index = int(outside.argmax())
        raise BadRequest(
            f"element {index} of tensor {tensor!r} is {array[index]},"
            f" {datatype.value} holds {limits.min} to {limits.max}"
        )
    return array.astype(datatype.numpy)
