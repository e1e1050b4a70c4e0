"""Memory that two processes map: one of them allocates and writes, the other reads in place.

An anonymous file, not one in /dev/shm: that is 64 MB in a container unless somebody says otherwise, and who writes past
its end is killed. The file is as long as the arena may become; memory is used where something was written.
"""

from __future__ import annotations

import mmap
import os
from typing import Any

import numpy as np
import numpy.typing as npt

from executor.link.allocator import ALIGNMENT, Allocator, aligned

HEADER = ALIGNMENT
"""Bytes in front of every region that belong to whoever uses the arena."""
KEPT = 64 << 20
"""Bytes that stay in memory when nothing is taken any more."""


class Arena:
    """Map the file `fd`, which stays open until `close`. Only the process that made it calls `take`, `give_back`."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.size = os.fstat(fd).st_size
        self._map = mmap.mmap(fd, self.size)
        self._allocator = Allocator(self.size)
        self._highest = 0

    @classmethod
    def create(cls, size: int) -> Arena:
        """A new one of `size` bytes. Raises OSError."""
        fd = os.memfd_create("headrace", os.MFD_CLOEXEC)
        os.ftruncate(fd, aligned(size))
        return cls(fd)

    def take(self, size: int) -> int | None:
        """Where a region of `size` bytes begins, its header, full of zeros, included; None if there is no room."""
        start = self._allocator.take(size)
        if start is not None:
            self._highest = max(self._highest, start + size)
            self._map[start : start + HEADER] = bytes(HEADER)
        return start

    def give_back(self, start: int) -> None:
        """Nobody looks at this region any more."""
        self._allocator.give_back(start)
        if not self._allocator.used:
            if self._highest > KEPT:
                self._map.madvise(mmap.MADV_REMOVE, KEPT, self.size - KEPT)
            self._highest = 0

    def region(self, start: int, size: int) -> npt.NDArray[np.uint8]:
        """These bytes, as an array on which all arrays in the region are made: it lives as long as any of them."""
        return np.frombuffer(self._map, np.uint8, size, start)

    def array(self, shape: tuple[int, ...], dtype: np.dtype[Any], start: int) -> npt.NDArray[Any]:
        """An array there, to be written to."""
        return np.ndarray(shape, dtype, self._map, start)

    def close(self) -> None:
        """Let go of the file. The memory goes when no array looks at it any more, here or there. Again: harmless."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
