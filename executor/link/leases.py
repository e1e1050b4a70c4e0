"""Regions of an arena that somebody still looks at, found out by the arrays themselves: numpy keeps count.

Whoever got arrays in a region, made views on them or handed them on need not say when it is done. The last to let go
may be a worker thread; who is told is told on the event loop, of small regions a little later and of many at once: it
is another process, and to wake it for each would cost more than the memory is worth.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

TOLD_WITHIN_S = 0.005
TOLD_AT_ONCE = 256 << 10
"""Bytes of regions that are free: then the other side is told of them. It is the memory that its cache holds."""


class Leases:
    """Made on the event loop, on which `over` is called with the starts of regions that nobody looks at any more."""

    def __init__(self, over: Callable[[list[int]], None]) -> None:
        self._over = over
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._regions: dict[int, weakref.ref[npt.NDArray[np.uint8]]] = {}
        self._ended: list[int] = []
        """Of which nobody was told yet..."""
        self._ended_bytes = 0
        """...and how large they are."""

    def watch(self, start: int, region: npt.NDArray[np.uint8]) -> None:
        """Until nothing refers to `region` (see `parcel.unpack`), which begins at `start`."""
        size = region.size

        def gone(_: object) -> None:
            if self._loop.is_closed():
                return
            if threading.get_ident() == self._thread:
                self._end(start, size)
            else:
                self._loop.call_soon_threadsafe(self._end, start, size)

        self._regions[start] = weakref.ref(region, gone)

    def forget(self) -> None:
        """Nobody is to be told any more."""
        self._regions.clear()
        self._ended.clear()

    def _end(self, start: int, size: int) -> None:
        if self._regions.pop(start, None) is None:
            return
        if not self._ended:
            self._ended_bytes = 0
            self._loop.call_later(TOLD_WITHIN_S, self._tell)
        self._ended.append(start)
        self._ended_bytes += size
        if self._ended_bytes >= TOLD_AT_ONCE:
            self._tell()

    def _tell(self) -> None:
        ended, self._ended = self._ended, []
        if ended:
            self._over(ended)
