"""The datatypes of the V2 protocol and their names in numpy and ONNX: one table, nothing else.

BYTES is text here: ONNX's string tensors hold UTF-8, so in memory a BYTES tensor is a numpy object array of `str`.
BF16 has no numpy type of its own; `ml_dtypes.bfloat16` (which onnx brings along) stands for it.

Source: Open Inference Protocol, "Tensor Data Types"; BF16 from Triton's extension of it.
"""

from __future__ import annotations

import enum
from typing import Any

import ml_dtypes
import numpy as np


class Datatype(enum.Enum):
    """A V2 datatype. The value is the name on the wire."""

    __hash__ = object.__hash__  # Enum's own hashes the name in Python: ten times as slow, and tables are keyed by this

    BOOL = "BOOL"
    UINT8 = "UINT8"
    UINT16 = "UINT16"
    UINT32 = "UINT32"
    UINT64 = "UINT64"
    INT8 = "INT8"
    INT16 = "INT16"
    INT32 = "INT32"
    INT64 = "INT64"
    FP16 = "FP16"
    FP32 = "FP32"
    FP64 = "FP64"
    BF16 = "BF16"
    BYTES = "BYTES"

    wire: str
    """The value, as a plain attribute: Enum's own `value` is two calls in Python."""
    numpy: np.dtype[Any]
    """In-memory dtype, little-endian; `object` for BYTES."""
    onnx: str
    """ONNX Runtime's type string, e.g. ``tensor(float)``."""
    item_bytes: int
    """Bytes per element in raw (binary) form; 0 for BYTES, whose elements carry their own length."""

    @property
    def is_float(self) -> bool:
        """Whether it holds floating-point numbers."""
        return self in _FLOATS


_ROWS: dict[Datatype, tuple[Any, str]] = {
    Datatype.BOOL: ("?", "tensor(bool)"),
    Datatype.UINT8: ("<u1", "tensor(uint8)"),
    Datatype.UINT16: ("<u2", "tensor(uint16)"),
    Datatype.UINT32: ("<u4", "tensor(uint32)"),
    Datatype.UINT64: ("<u8", "tensor(uint64)"),
    Datatype.INT8: ("<i1", "tensor(int8)"),
    Datatype.INT16: ("<i2", "tensor(int16)"),
    Datatype.INT32: ("<i4", "tensor(int32)"),
    Datatype.INT64: ("<i8", "tensor(int64)"),
    Datatype.FP16: ("<f2", "tensor(float16)"),
    Datatype.FP32: ("<f4", "tensor(float)"),
    Datatype.FP64: ("<f8", "tensor(double)"),
    Datatype.BF16: (ml_dtypes.bfloat16, "tensor(bfloat16)"),
    Datatype.BYTES: ("O", "tensor(string)"),
}
_FLOATS = frozenset({Datatype.FP16, Datatype.FP32, Datatype.FP64, Datatype.BF16})

for _datatype, (_numpy, _onnx) in _ROWS.items():
    _datatype.wire = _datatype.value
    _datatype.numpy = np.dtype(_numpy)
    _datatype.onnx = _onnx
    _datatype.item_bytes = 0 if _datatype is Datatype.BYTES else _datatype.numpy.itemsize

BY_NAME: dict[str, Datatype] = {datatype.value: datatype for datatype in Datatype}
"""Wire name -> datatype."""
BY_NUMPY: dict[np.dtype[Any], Datatype] = {datatype.numpy: datatype for datatype in Datatype}
"""numpy dtype -> datatype; a dtype that is not a key (complex, structured, big-endian) has no V2 name."""
BY_ONNX: dict[str, Datatype] = {datatype.onnx: datatype for datatype in Datatype}
"""ONNX Runtime type string -> datatype; sequences, maps and sparse tensors are not keys."""
