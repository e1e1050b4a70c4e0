"""Named arrays in an arena, and the few words that tell the other process where they lie and what they are.

Numbers lie one after the other in one region; text, which has no size, travels in the message itself, and so may
numbers of few bytes, for which a region is not worth it. Datatypes go by their names in V2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from executor.link.allocator import aligned
from executor.link.arena import HEADER, Arena
from headrace.datatypes import BY_NAME, BY_NUMPY
from headrace.requests import Array


class Label(msgspec.Struct, array_like=True, frozen=True):
    """One array: at `offset` bytes from the start of its region, or `inside` this: text, or the bytes of numbers."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    offset: int
    inside: list[str] | bytes | None = None


class Parcel(msgspec.Struct, array_like=True, frozen=True):
    """Arrays in the region of `size` bytes at `start`; 0 bytes: there is no region, all is inside."""

    start: int
    size: int
    labels: list[Label]


def pack(arrays: Mapping[str, Any], arena: Arena, put: Callable[[Array, Any], None] = np.copyto) -> Parcel | None:
    """Copy the arrays into a new region, which is `give_back` to the arena at some time. None: there is no room.

    What lies on a device is as good as an array if it has shape, dtype and nbytes, and `put` copies it to one.
    """
    labels = []
    size = HEADER
    for name, array in arrays.items():
        datatype = BY_NUMPY[array.dtype].wire
        if array.dtype.char == "O":
            labels.append(Label(name, datatype, array.shape, 0, array.ravel().tolist()))
        else:
            labels.append(Label(name, datatype, array.shape, size))
            size += aligned(array.nbytes)
    start = arena.take(size)
    if start is None:
        return None
    for label, array in zip(labels, arrays.values(), strict=True):
        if label.inside is None:
            put(arena.array(array.shape, array.dtype, start + label.offset), array)
    return Parcel(start, size, labels)


def inside(arrays: Mapping[str, Array]) -> Parcel:
    """The arrays without a region."""
    labels = [
        Label(name, BY_NUMPY[array.dtype].wire, array.shape, 0, _content(array)) for name, array in arrays.items()
    ]
    return Parcel(0, 0, labels)


def _content(array: Array) -> list[str] | bytes:
    return array.ravel().tolist() if array.dtype.char == "O" else array.tobytes()


def unpack(parcel: Parcel, arena: Arena) -> tuple[dict[str, Array], npt.NDArray[np.uint8] | None]:
    """The arrays, in place, and their region: as long as anybody has one of the arrays, that array lives too."""
    region = arena.region(parcel.start, parcel.size) if parcel.size else None
    found: dict[str, Array] = {}
    for label in parcel.labels:
        datatype, content = BY_NAME[label.datatype].numpy, label.inside
        if content is None:
            found[label.name] = np.ndarray(label.shape, datatype, region, label.offset)
        elif isinstance(content, bytes):
            found[label.name] = np.ndarray(label.shape, datatype, content)
        else:
            found[label.name] = np.array(content, object).reshape(label.shape)
    return found, region
