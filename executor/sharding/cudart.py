"""CUDA's runtime library, of which ONNX Runtime loads one into the process of a stage: the three calls needed of it.

`cudaSetDevice`, `cudaHostRegister` and `cudaMemcpy` of https://docs.nvidia.com/cuda/cuda-runtime-api. Memory that is
registered (pinned) is read and written by the GPU itself; all other goes by way of a buffer of the driver's, piece by
piece, on the CPU. It is resident for good, hence only the part of an arena that stays in memory anyway.
"""

from __future__ import annotations

import ctypes
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

from executor.link.arena import KEPT, Arena
from headrace.requests import Array

_PORTABLE = 1
"""cudaHostRegisterPortable: pinned for every device."""
_TO_HOST = 2
"""cudaMemcpyDeviceToHost."""


class Cudart:
    """The `library`, for `device`. Arenas are pinned one by one; what lies in none is copied all the same."""

    def __init__(self, library: Any, device: int) -> None:
        library.cudaHostRegister.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint)
        library.cudaMemcpy.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        library.cudaGetErrorString.restype = ctypes.c_char_p
        self._library = library
        self._ends: list[int] = []
        """Addresses where pinned memory ends."""
        self._check("cudaSetDevice", library.cudaSetDevice(device))

    def pin(self, arena: Arena) -> None:
        """Pin what it has at its lowest addresses, which are used first. Raises RuntimeError."""
        start, size = arena.region(0, 1).ctypes.data, min(KEPT, arena.size)
        self._check("cudaHostRegister", self._library.cudaHostRegister(start, size, _PORTABLE))
        self._ends.append(start + size)

    def to_host(self, target: Array, source: int) -> None:
        """Fill `target`, which is contiguous, from the device's memory at `source`. Raises RuntimeError."""
        start = target.ctypes.data
        cuts = [start, *self._borders(target), start + target.nbytes]
        for begin, end in pairwise(cuts):
            copied = self._library.cudaMemcpy(begin, source + begin - start, end - begin, _TO_HOST)
            self._check("cudaMemcpy", copied)

    def copyable(self, array: Array) -> Array:
        """The array, or a copy where it lies half in pinned memory: no call of CUDA's takes such a stretch."""
        return array.copy() if self._borders(array) else array

    def _borders(self, array: Array) -> list[int]:
        start, stop = array.ctypes.data, array.ctypes.data + array.nbytes
        return [end for end in self._ends if start < end < stop]

    def _check(self, call: str, code: int) -> None:
        if code:
            raise RuntimeError(f"{call}: {self._library.cudaGetErrorString(code).decode()} ({code})")


def loaded() -> Any:
    """The one that this process has loaded. Raises OSError if it has none: only its own knows its contexts."""
    found = re.search(r"/\S*libcudart\.so\S*", Path("/proc/self/maps").read_text())
    if found is None:
        raise OSError("the process has not loaded libcudart")
    return ctypes.CDLL(found[0])
