"""An ONNX file without its weights: each large one becomes a reference to where it lies in the file.

Receives a model's file, hands a ModelProto to `graph`. Walks protobuf's wire format
(https://protobuf.dev/programming-guides/encoding) and reads all but the raw data, hence in memory that does not grow
with the weights. Invariants: 1. Nothing is copied: a weight is (file, offset, length), in the form that ONNX has for
external data. 2. What is not known here (newer fields) is kept as it is. Reads, never maps: these files are the user's,
and one that shrinks ends who mapped it.

Weights below `LEAST_BYTES`, and those in other fields than raw_data (float_data, int64_data, ..., which are encoded
and hence cannot be referred to), stay inside.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from google.protobuf.message import DecodeError
from onnx import ModelProto, StringStringEntryProto, TensorProto

from headrace.errors import LoadFailed

LEAST_BYTES = 1024
"""Shapes, axes and scalars stay inside: shape inference looks at their values, and they weigh nothing."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_RAW_DATA = 9

_INSIDE: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 25: "FunctionProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "FunctionProto": {7: "NodeProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",  # t
        6: "GraphProto",  # g
        10: "TensorProto",  # tensors
        11: "GraphProto",  # graphs
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {},  # its values are not read from elsewhere by ONNX Runtime
    "TensorProto": {},
}
"""Message -> field number -> message in that field, as in onnx.proto: the ways to a tensor."""


class _Field(NamedTuple):
    number: int
    kind: int
    """How it is written: one of protobuf's wire types."""
    start: int
    content: int
    end: int


def weightless(file: Path, location: str) -> ModelProto:
    """The model in `file`, whose weights are references to `location`, or to where they lay already.

    Raises LoadFailed if it is no model, OSError if it cannot be read.
    """
    with file.open("rb", buffering=0) as opened:
        reader = _Reader(opened.fileno(), file, location)
        size = os.fstat(opened.fileno()).st_size
        try:
            model = ModelProto.FromString(reader.without_weights("ModelProto", 0, size))
        except DecodeError as error:
            raise LoadFailed(f"{file}: expected an ONNX model, found bytes that are none: {error}") from None
        except RecursionError:
            raise LoadFailed(f"{file}: expected an ONNX model, found subgraphs in subgraphs without end") from None
    if not model.HasField("graph"):
        raise LoadFailed(f"{file}: expected an ONNX model, found no graph in it")
    return model


class _Reader:
    def __init__(self, opened: int, file: Path, location: str) -> None:
        self._opened, self._file, self._location = opened, file, location

    def without_weights(self, message: str, start: int, end: int) -> bytes:
        """The bytes of this message, but for raw data in it."""
        if end - start < LEAST_BYTES or message == "SparseTensorProto":
            return self._read(start, end)
        if message == "TensorProto":
            return self._tensor(start, end)
        kept = bytearray()
        for field in self._fields(start, end):
            inner = _INSIDE[message].get(field.number)
            if inner is None or field.kind != _BYTES:
                kept += self._read(field.start, field.end)
            else:
                content = self.without_weights(inner, field.content, field.end)
                kept += _varint(field.number << 3 | _BYTES) + _varint(len(content)) + content
        return bytes(kept)

    def _tensor(self, start: int, end: int) -> bytes:
        kept, raw = bytearray(), None
        for field in self._fields(start, end):
            if field.number == _RAW_DATA:
                raw = field  # the last one counts, should there be several
            else:
                kept += self._read(field.start, field.end)
        if raw is None or raw.end - raw.content < LEAST_BYTES:
            return self._read(start, end)
        entries = {"location": self._location, "offset": str(raw.content), "length": str(raw.end - raw.content)}
        reference = TensorProto(
            data_location=TensorProto.EXTERNAL,
            external_data=[StringStringEntryProto(key=key, value=value) for key, value in entries.items()],
        )
        return bytes(kept) + bytes(reference.SerializeToString())

    def _fields(self, start: int, end: int) -> Iterator[_Field]:
        at = start
        while at < end:
            head = self._read(at, min(at + 20, end))  # two varints, at most
            tag, used = self._number(head, 0, at)
            number, kind = tag >> 3, tag & 7
            content = at + used
            if kind == _BYTES:
                length, used = self._number(head, used, at)
                content = at + used
                after = content + length
            elif kind == _VARINT:
                after = at + self._number(head, used, at)[1]
            elif kind in (_FIXED32, _FIXED64):
                after = content + (4 if kind == _FIXED32 else 8)
            else:
                raise self._broken(at, f"a field of wire type {kind}")
            if after > end or not number:
                raise self._broken(at, f"a field that ends {after - end} bytes too late" if number else "field 0")
            yield _Field(number, kind, at, content, after)
            at = after

    def _number(self, head: bytes, index: int, at: int) -> tuple[int, int]:
        """(value, index behind it) of the varint there."""
        value = 0
        for shift in range(0, 70, 7):
            if index >= len(head):
                break
            byte = head[index]
            index += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, index
        raise self._broken(at, "a number without end")

    def _read(self, start: int, end: int) -> bytes:
        found = os.pread(self._opened, end - start, start)
        if len(found) < end - start:
            raise self._broken(start, "the end of the file")
        return found

    def _broken(self, at: int, found: str) -> LoadFailed:
        return LoadFailed(f"{self._file}: expected an ONNX model, found {found} at byte {at}")


def _varint(value: int) -> bytes:
    coded = bytearray()
    while value > 0x7F:
        coded.append(value & 0x7F | 0x80)
        value >>= 7
    coded.append(value)
    return bytes(coded)
