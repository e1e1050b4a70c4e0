"""What models take of memory, in all processes of the pool: a file per process, in a directory that they share.

Each process writes its own when something is loaded or unloaded; whoever is asked reads everyone's and adds them up.
What a process has that has ended counts no more.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from executor.footprint import Use
from headrace.models import ModelId

_SUFFIX = ".holds"


class _Held(msgspec.Struct):
    """By one loaded instance of a version."""

    name: str
    version: int
    uses: tuple[Use, ...]


class _Sheet(msgspec.Struct):
    pid: int
    held: list[_Held]


_decoder = msgspec.msgpack.Decoder(_Sheet)


class Holdings:
    """Of the process at `place`, and of all. Used by one thread, but for `mapped`."""

    def __init__(self, directory: Path, place: int) -> None:
        self._directory = directory
        self.turn = directory / "turn"
        """Held by a process that loads something while memory is scarce."""
        self._file = directory / f"{place}{_SUFFIX}"
        self._mine: dict[int, _Held] = {}
        self._serials = itertools.count()

    def add(self, id: ModelId, uses: tuple[Use, ...]) -> int:
        """An instance of the version takes this, from now on until `remove` is called with what this returns."""
        serial = next(self._serials)
        self._mine[serial] = _Held(id.name, id.version, uses)
        self._write()
        return serial

    def remove(self, serial: int) -> None:
        """It is unloaded."""
        del self._mine[serial]
        self._write()

    def totals(self) -> dict[ModelId, dict[str, int]]:
        """Bytes by version and device, in all processes."""
        found: dict[ModelId, dict[str, int]] = {}
        files: set[tuple[ModelId, str]] = set()
        for id, use in self._all():
            if use.file:
                if (id, use.file) in files:
                    continue
                files.add((id, use.file))
            devices = found.setdefault(id, {})
            devices[use.device] = devices.get(use.device, 0) + use.bytes
        return found

    def mapped(self, but: ModelId) -> int:
        """Bytes of files that all versions but one map, each file once."""
        return sum({use.file: use.bytes for id, use in self._all() if use.file and id != but}.values())

    def _all(self) -> Iterator[tuple[ModelId, Use]]:
        for path in self._directory.glob(f"*{_SUFFIX}"):
            sheet = _decoder.decode(path.read_bytes())
            if _lives(sheet.pid):
                for held in sheet.held:
                    yield from ((ModelId(held.name, held.version), use) for use in held.uses)

    def _write(self) -> None:
        """Whole, or not at all: others read it at any time."""
        part = self._file.with_suffix(".part")
        part.write_bytes(msgspec.msgpack.encode(_Sheet(os.getpid(), list(self._mine.values()))))
        part.rename(self._file)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody's by now, but not ours
        return False
    return True
