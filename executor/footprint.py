"""What a model takes of memory, measured while it is loaded and warmed up.

Of the process's own memory it is what the process grew by meanwhile. Loads that overlap share what it grew while they
did, by the sizes of their models. Weights in a file that several processes map are in memory once: they are told apart
by the file, so that whoever adds up counts them once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from executor.providers import ON_THE_CPU


class Use(msgspec.Struct, frozen=True):
    """Bytes of one device. `file`: in a mapped file, which is in memory once for all who map it."""

    device: str
    bytes: int
    file: str = ""


@dataclass(eq=False, slots=True)
class Growth:
    """Of one load, in bytes; more than one of them shares what was seen in proportion to their `weight`."""

    weight: float
    bytes: float = 0.0


class Meter:
    """Tells loads that overlap apart, as well as that can be done. `level` says how many bytes are taken now."""

    def __init__(self, level: Callable[[], int]) -> None:
        self._level = level
        self._lock = threading.Lock()
        self._open: list[Growth] = []
        self._seen = 0

    @contextmanager
    def growth(self, weight: float) -> Iterator[Growth]:
        """What is taken within, by a load of this weight (more than 0). Final when it is left. Thread-safe."""
        growth = Growth(weight)
        with self._lock:
            self._settle()
            self._open.append(growth)
        try:
            yield growth
        finally:
            with self._lock:
                self._settle()
                self._open.remove(growth)

    def _settle(self) -> None:
        now = self._level()
        total = sum(each.weight for each in self._open)
        for each in self._open:
            each.bytes += (now - self._seen) * each.weight / total
        self._seen = now


def own_bytes() -> int:
    """Of this process and of no file; 0 where the system does not say."""
    return _kib(Path("/proc/self/status"), "RssAnon:")


def share_bytes(pid: int) -> int:
    """Of a process: what it has alone, and its part of what it shares; 0 where the system does not say."""
    return _kib(Path(f"/proc/{pid}/smaps_rollup"), "Pss:")


def mapped(folders: Sequence[Path]) -> list[Use]:
    """Files below these folders that this process maps, with the bytes of them that it does."""
    with suppress(OSError):
        return mapped_in(Path("/proc/self/maps").read_text(), [str(folder) for folder in folders])
    return []


def mapped_in(maps: str, folders: Sequence[str]) -> list[Use]:
    """The same, by the text of /proc/PID/maps (proc(5)): address, permissions, offset, device, inode, path."""
    parts: dict[str, dict[int, int]] = {}
    for line in maps.splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and any(fields[5].startswith(f"{folder}/") for folder in folders):
            start, end = (int(each, 16) for each in fields[0].split("-"))
            pieces = parts.setdefault(f"{fields[3]} {fields[4]}", {})
            offset = int(fields[2], 16)
            pieces[offset] = max(pieces.get(offset, 0), end - start)  # two sessions map the same
    return [Use(ON_THE_CPU, sum(pieces.values()), file) for file, pieces in parts.items()]


def _kib(file: Path, name: str) -> int:
    with suppress(OSError):
        for line in file.read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    return 0
