"""Who of several processes runs something on the CPU, and since when nobody does: memory that they share.

Two cells of 64 bits for each process: how many runs it has under way, and when the last one ended, in nanoseconds of
the machine's monotonic clock. Invariant: a cell has one writer. A process that dies leaves its runs behind until the
next one in its place begins: the others then think that the cores are busy.
"""

from __future__ import annotations

import mmap
import threading
import time
from pathlib import Path

_CELLS = 2


class Activity:
    """The view of the process at `index`. For any thread."""

    def __init__(self, cells: memoryview, index: int) -> None:
        self._runs, self._ended = cells[: len(cells) // _CELLS], cells[len(cells) // _CELLS :]
        self._index = index
        self._others = [other for other in range(len(self._runs)) if other != index]
        self._lock = threading.Lock()
        """Of this process's runs, which may end in several threads at once."""
        self._runs[index] = 0

    @staticmethod
    def create(path: Path, processes: int) -> None:
        """A new file, in which nobody runs anything."""
        path.write_bytes(bytes(8 * _CELLS * processes))

    @classmethod
    def open(cls, path: Path, index: int) -> Activity:
        """The file that was made for all."""
        with path.open("r+b") as file:
            return cls(memoryview(mmap.mmap(file.fileno(), 0)).cast("q"), index)

    def begin(self, quiet_s: float) -> bool:
        """One more run of this process. Whether it is the only one, and other processes had none for so long."""
        with self._lock:
            self._runs[self._index] += 1
            alone: bool = self._runs[self._index] == 1
        runs, ended, since = self._runs, self._ended, time.monotonic_ns() - quiet_s * 1e9
        return alone and all(not runs[other] and ended[other] < since for other in self._others)

    def end(self) -> None:
        """One run is over."""
        with self._lock:
            self._runs[self._index] -= 1
        self._ended[self._index] = time.monotonic_ns()
