"""Raw tensor bytes <-> arrays: what the REST binary extension and gRPC's raw contents share.

Wire format (V2 "binary tensor data", same as `raw_input_contents`): little-endian, row-major, no padding; BOOL one byte
of 0 or 1; BYTES each element a 4-byte little-endian length and that many bytes. BYTES are text here (UTF-8).
`from_raw` gives views on the body where it can; whoever holds the array keeps the body alive.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

import numpy as np

from headrace.datatypes import BY_NAME, Datatype
from headrace.errors import BadRequest
from headrace.requests import Array

MAX_RANK = 32
"""numpy 1 stops at 32 dimensions, and no model has more."""
_MAX_DIM = 2**63 - 1
_LENGTH = struct.Struct("<I")


def datatype_named(tensor: str, name: str) -> Datatype:
    """The datatype called `name`; BadRequest naming the tensor if there is none."""
    datatype = BY_NAME.get(name)
    if datatype is None:
        raise BadRequest(f"tensor {tensor!r} has unknown datatype {name[:40]!r}; known are {', '.join(BY_NAME)}")
    return datatype


def checked_shape(tensor: str, shape: Sequence[int]) -> tuple[int, ...]:
    """`shape` as a tuple; BadRequest if a dimension is negative, absurdly large, or there are too many."""
    if len(shape) > MAX_RANK:
        raise BadRequest(f"tensor {tensor!r} has {len(shape)} dimensions, at most {MAX_RANK} are possible")
    for dim in shape:
        if not 0 <= dim <= _MAX_DIM:
            raise BadRequest(f"tensor {tensor!r} has dimension {dim} in its shape; dimensions are 0 or more")
    return tuple(shape)


def array_over(tensor: str, shape: tuple[int, ...], datatype: Datatype, data: bytes | memoryview) -> Array:
    """`data`, whose size has been checked, as an array, without a copy."""
    try:
        return np.ndarray(shape, datatype.numpy, data)
    except (ValueError, OverflowError) as error:
        raise BadRequest(f"tensor {tensor!r} cannot have shape {list(shape)}: {error}") from None


def shaped(tensor: str, flat: Array, shape: tuple[int, ...]) -> Array:
    """`flat` in `shape`, whose number of elements has been checked; a zero-size shape may still be too wild."""
    try:
        return flat.reshape(shape)
    except (ValueError, OverflowError) as error:
        raise BadRequest(f"tensor {tensor!r} cannot have shape {list(shape)}: {error}") from None


def from_raw(tensor: str, datatype: Datatype, shape: Sequence[int], data: bytes | memoryview) -> Array:
    """The tensor in `data`, all of it. BadRequest names the tensor, the bytes expected and found."""
    dims = checked_shape(tensor, shape)
    count = math.prod(dims)
    if datatype is Datatype.BYTES:
        return shaped(tensor, _texts(tensor, count, dims, data), dims)
    expected = count * datatype.item_bytes
    if len(data) != expected:
        raise BadRequest(
            f"tensor {tensor!r} of datatype {datatype.value} and shape {list(dims)} takes {expected} bytes,"
            f" the request has {len(data)}"
        )
    array = array_over(tensor, dims, datatype, data)
    if datatype is Datatype.BOOL and count and array.view(np.uint8).max() > 1:
        raise BadRequest(f"tensor {tensor!r} is BOOL: its bytes must be 0 or 1, found {array.view(np.uint8).max()}")
    return array if array.flags.aligned else array.copy()


def to_raw(array: Array) -> bytes:
    """The raw bytes of `array`."""
    if array.dtype.char != "O":
        return array.tobytes()
    pieces: list[bytes] = []
    for text in array.ravel().tolist():
        data = text.encode()
        pieces += (_LENGTH.pack(len(data)), data)
    return b"".join(pieces)


def text(tensor: str, index: int, data: bytes) -> str:
    """One BYTES element as text; BadRequest naming tensor and element if it is not UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BadRequest(
            f"element {index} of tensor {tensor!r} is not UTF-8 text ({error.reason} at byte {error.start});"
            " string tensors hold text"
        ) from None


def _texts(tensor: str, count: int, dims: tuple[int, ...], data: bytes | memoryview) -> Array:
    if count > len(data) // _LENGTH.size:
        raise BadRequest(
            f"tensor {tensor!r} of shape {list(dims)} needs {count} strings of at least 4 bytes each,"
            f" the request has {len(data)} bytes"
        )
    flat = np.empty(count, dtype=object)
    at = 0
    for index in range(count):
        start = at + _LENGTH.size
        if start > len(data):
            raise BadRequest(f"tensor {tensor!r} ends in the length of string {index} of {count}")
        (length,) = _LENGTH.unpack_from(data, at)
        at = start + length
        if at > len(data):
            raise BadRequest(
                f"string {index} of tensor {tensor!r} says {length} bytes, only {len(data) - start} are left"
            )
        flat[index] = text(tensor, index, bytes(data[start:at]))
    if at != len(data):
        raise BadRequest(f"tensor {tensor!r} holds {count} strings in {at} bytes, the request has {len(data)}")
    return flat
