"""Which parts of a stretch of memory are taken. Pure; first fit, lowest address first.

The lowest, because memory that was used last is in the processor's cache, and because what was never touched costs
nothing. Invariant: free stretches are sorted by address, and no two of them touch.
"""

from __future__ import annotations

from bisect import bisect_left

ALIGNMENT = 64
"""Bytes: a cache line, and what vector instructions like best."""


def aligned(size: int) -> int:
    """The next multiple of `ALIGNMENT`."""
    return -(-size // ALIGNMENT) * ALIGNMENT


class Allocator:
    """Of `size` bytes, a multiple of `ALIGNMENT`."""

    def __init__(self, size: int) -> None:
        self._starts = [0]
        self._sizes = [size]
        self._taken: dict[int, int] = {}
        self.used = 0
        """Bytes that are taken."""

    def take(self, size: int) -> int | None:
        """The address of `size` bytes that are nobody else's; None if there is no such stretch."""
        size = aligned(max(size, 1))
        sizes = self._sizes
        index = next((index for index, free in enumerate(sizes) if free >= size), None)
        if index is None:
            return None
        start = self._starts[index]
        if sizes[index] == size:
            del self._starts[index], sizes[index]
        else:
            self._starts[index] += size
            sizes[index] -= size
        self._taken[start] = size
        self.used += size
        return start

    def give_back(self, start: int) -> None:
        """What `take` gave out is free again. Raises KeyError if it was not taken."""
        size = self._taken.pop(start)
        self.used -= size
        starts, sizes = self._starts, self._sizes
        index = bisect_left(starts, start)
        if index < len(starts) and start + size == starts[index]:
            size += sizes[index]
            del starts[index], sizes[index]
        if index and starts[index - 1] + sizes[index - 1] == start:
            sizes[index - 1] += size
        else:
            starts.insert(index, start)
            sizes.insert(index, size)
