"""Regions of an arena that somebody still looks at, found out by the arrays themselves: numpy keeps count.

Whoever got arrays in a region, made views on them or handed them on need not say when it is done. The last to let go
may be a worker thread; who is told is told on the event loop.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable

import numpy as np
import numpy.typing as npt


class Leases:
    """Made on the event loop, on which `over` is called with the start of each region that nobody looks at any more."""

    def __init__(self, over: Callable[[int], None]) -> None:
        self._over = over
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._regions: dict[int, weakref.ref[npt.NDArray[np.uint8]]] = {}

    def watch(self, start: int, region: npt.NDArray[np.uint8]) -> None:
        """Until nothing refers to `region` (see `parcel.unpack`), which begins at `start`."""

        def gone(_: object) -> None:
            if threading.get_ident() == self._thread:
                self._end(start)
            elif not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._end, start)

        self._regions[start] = weakref.ref(region, gone)

    def forget(self) -> None:
        """Nobody is to be told any more."""
        self._regions.clear()

    def _end(self, start: int) -> None:
        if self._regions.pop(start, None) is not None:
            self._over(start)
