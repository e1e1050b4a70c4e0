"""JSON tensor data <-> arrays, strictly: nothing is rounded, wrapped or guessed.

`data` may be flat or nested in row-major order. A JSON integer is fine for a floating-point tensor, nothing else
crosses: no bool for a number, no number for a string, no null, no fraction for an integer, nothing out of range.
FP16 and BF16 have no JSON form in V2. Number lists go through `struct`, which checks ranges and is the fastest way
from a list of floats to an array (64 floats: 1.4 us; `np.array` 2.0 us and turns 1e39 into infinity).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import orjson

from headrace.datatypes import BY_NUMPY, Datatype
from headrace.errors import BadRequest
from headrace.requests import Array
from server.wire import array_over, checked_shape, shaped

DEPTH = 9
"""Deepest nesting of `data`; flat data may have any rank."""


def _nested(element: type) -> Any:
    data: Any = element
    for _ in range(DEPTH):
        data = element | list[data]
    return list[data]


Floats: Any = _nested(float)
"""The type of FP32 and FP64 data, flat or nested, for a parser."""
FLOAT_NAMES = ("FP32", "FP64")

_FLOATS, _INTEGERS, _BOOLS, _STRINGS = (
    msgspec.json.Decoder(kind) for kind in (Floats, _nested(int), _nested(bool), _nested(str))
)

_PARSERS: dict[Datatype, tuple[msgspec.json.Decoder[list[Any]], str]] = {
    Datatype.BOOL: (_BOOLS, "?"),
    Datatype.UINT8: (_INTEGERS, "B"),
    Datatype.UINT16: (_INTEGERS, "H"),
    Datatype.UINT32: (_INTEGERS, "I"),
    Datatype.UINT64: (_INTEGERS, "Q"),
    Datatype.INT8: (_INTEGERS, "b"),
    Datatype.INT16: (_INTEGERS, "h"),
    Datatype.INT32: (_INTEGERS, "i"),
    Datatype.INT64: (_INTEGERS, "q"),
    Datatype.FP32: (_FLOATS, "f"),
    Datatype.FP64: (_FLOATS, "d"),
    Datatype.BYTES: (_STRINGS, ""),
}
"""Per datatype: the strict JSON parser and the struct code of one element. FP16 and BF16 travel as binary data only."""
_TAKING_LISTS = (Datatype.BOOL, Datatype.BYTES)
"""Where a list among the values would pass: for struct it is a truth value, for numpy an object."""


_FLAT = {
    datatype: (msgspec.json.Decoder(list[kind]).decode, code)  # type: ignore[valid-type]
    for datatype, (_, code) in _PARSERS.items()
    if code
    for kind in (bool if code == "?" else float if datatype.is_float else int,)
}


def flat_parser(datatype: Datatype) -> tuple[Callable[[bytes], list[Any]], str] | None:
    """The parser of a flat list of such numbers and the struct code of one; None for what is no number in JSON."""
    return _FLAT.get(datatype)


def from_json(tensor: str, datatype: Datatype, shape: list[int], data: msgspec.Raw | list[Any]) -> Array:
    """The tensor in the JSON text `data`, or in its list if that is parsed already.

    BadRequest names the tensor, what was expected and found.
    """
    parser = _PARSERS.get(datatype)
    if parser is None:
        raise BadRequest(f"tensor {tensor!r} is {datatype.value}, which has no JSON form: send it as binary data")
    dims = checked_shape(tensor, shape)
    decoder, code = parser
    if isinstance(data, list):
        values = data
    else:
        try:
            values = decoder.decode(data)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise BadRequest(f"data of tensor {tensor!r} ({datatype.value}): {error}") from None
    if values and isinstance(values[0], list):
        values = _flat(tensor, values, dims)
    count = math.prod(dims)
    if len(values) != count:
        raise BadRequest(f"tensor {tensor!r} of shape {list(dims)} takes {count} values, the request has {len(values)}")
    if datatype in _TAKING_LISTS and list in map(type, values):
        raise _misfit(tensor, datatype, values)
    if not code:
        return shaped(tensor, np.array([*values, None], dtype=object)[:-1], dims)
    try:
        packed = struct.pack(f"<{count}{code}", *values)
    except (struct.error, OverflowError):
        raise _misfit(tensor, datatype, values) from None
    return array_over(tensor, dims, datatype, packed)


def to_json(output: str, array: Array) -> bytes:
    """`array` as a flat JSON list. BadRequest for datatypes without a JSON form.

    What is not finite becomes the tokens NaN, Infinity and -Infinity, as TensorFlow Serving and Python write them:
    null would lose what the model said.
    """
    datatype = BY_NUMPY[array.dtype]
    if datatype is Datatype.BYTES:
        return orjson.dumps(array.ravel().tolist())
    if datatype not in _PARSERS:
        raise BadRequest(
            f"output {output!r} is {datatype.value}, which has no JSON form: ask for it as binary data"
            ' ("binary_data": true)'
        )
    text = orjson.dumps(array.ravel(), option=orjson.OPT_SERIALIZE_NUMPY)
    return _with_tokens(array, text) if _N in text and datatype.is_float else text


_N = ord("n")
"""Of all that orjson writes for floats, only null has one; to look for a byte takes a seventh of looking for a word."""


def _with_tokens(array: Array, text: bytes) -> bytes:
    values = text[1:-1].split(b",")
    for index in np.flatnonzero(~np.isfinite(array.ravel())):
        value = array.flat[index]
        values[index] = b"NaN" if np.isnan(value) else b"Infinity" if value > 0 else b"-Infinity"
    return b"[%b]" % b",".join(values)


def _flat(tensor: str, values: list[Any], dims: tuple[int, ...]) -> list[Any]:
    """Nested lists as one, after checking that the nesting is `dims`."""
    for axis in range(len(dims)):
        if len(values) != math.prod(dims[: axis + 1]):
            raise BadRequest(f"data of tensor {tensor!r} does not have the shape {list(dims)}: axis {axis} differs")
        if axis + 1 == len(dims):
            break
        inner: list[Any] = []
        for value in values:
            if not isinstance(value, list) or len(value) != dims[axis + 1]:
                found = f"a list of {len(value)}" if isinstance(value, list) else "a single value"
                raise BadRequest(
                    f"data of tensor {tensor!r} does not have the shape {list(dims)}:"
                    f" on axis {axis + 1} expected a list of {dims[axis + 1]}, found {found}"
                )
            inner += value
        values = inner
    for value in values:
        if isinstance(value, list):
            raise BadRequest(f"data of tensor {tensor!r} is nested deeper than its shape {list(dims)}")
    return values


def _misfit(tensor: str, datatype: Datatype, values: list[Any]) -> BadRequest:
    """Find the value that does not fit, for the message."""
    if list in map(type, values):
        return BadRequest(f"data of tensor {tensor!r} mixes lists and values")
    if datatype.is_float:
        limit = float(np.finfo(datatype.numpy).max)
        low, high = -limit, limit
    else:
        low, high = int(np.iinfo(datatype.numpy).min), int(np.iinfo(datatype.numpy).max)
    for index, value in enumerate(values):
        if not low <= value <= high:
            return BadRequest(
                f"value {value} at position {index} of tensor {tensor!r} is outside {datatype.value}: {low} to {high}"
            )
    return BadRequest(f"data of tensor {tensor!r} is not {datatype.value}")
