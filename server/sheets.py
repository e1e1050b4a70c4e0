"""Many models' cells in few files: a mapped file holds a descriptor, and a process may have only 1,024 of them.

    sheet = record | record | ... | zeros
    record = length | version | max_batch_rows | name bytes | name | cells

Used by `statistics`. All in native 64-bit integers, the name padded to whole ones. Invariants: 1. A record never moves,
shrinks or goes, so whoever has its cells may keep them. 2. Its length (in integers, header included) is written last:
who reads a length finds a whole record. 3. A sheet has one writer.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from headrace.counters import cells_needed
from headrace.models import ModelId

SHEET_BYTES = 1 << 20
"""Of a sheet, unless one record is larger: some 380 models of the default batch limit. Unused pages cost nothing."""

_LENGTH, _VERSION, _ROWS, _NAME_BYTES, _HEADER = range(5)

Record = tuple[ModelId, int, memoryview]
"""Model version, batch limit, cells."""


class Sheet:
    """A mapped sheet, to write to."""

    def __init__(self, cells: memoryview) -> None:
        self._cells = cells
        self._end = sum(len(cells) + _header(id) for id, _, cells in records(self._cells))

    @classmethod
    def create(cls, path: Path, id: ModelId, max_batch_rows: int) -> Sheet:
        """A new one with room for this record at least."""
        with path.open("xb") as file:
            file.truncate(max(SHEET_BYTES, 8 * _length(id, max_batch_rows)))
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> Sheet:
        """One that is there."""
        with path.open("r+b") as file:
            return cls(memoryview(mmap.mmap(file.fileno(), 0)).cast("q"))

    def records(self) -> Iterator[Record]:
        """All that it has."""
        return records(self._cells)

    def add(self, id: ModelId, max_batch_rows: int) -> memoryview | None:
        """The cells of a new record, None if there is no room for it."""
        start, length = self._end, _length(id, max_batch_rows)
        if start + length > len(self._cells):
            return None
        name = id.name.encode()
        record = self._cells[start : start + length]
        record[_VERSION], record[_ROWS], record[_NAME_BYTES] = id.version, max_batch_rows, len(name)
        record.cast("B")[8 * _HEADER : 8 * _HEADER + len(name)] = name
        record[_LENGTH] = length
        self._end += length
        return record[_header(id) :]


def records(sheet: memoryview) -> Iterator[Record]:
    """The records of a sheet, which may be growing meanwhile."""
    start, data = 0, sheet.cast("B")
    while start < len(sheet) and (length := sheet[start + _LENGTH]):
        name_at = 8 * (start + _HEADER)
        name = bytes(data[name_at : name_at + sheet[start + _NAME_BYTES]]).decode()
        id, rows = ModelId(name, sheet[start + _VERSION]), sheet[start + _ROWS]
        yield id, rows, sheet[start + length - cells_needed(rows) : start + length]
        start += length


def _header(id: ModelId) -> int:
    return _HEADER + (len(id.name.encode()) + 7) // 8


def _length(id: ModelId, max_batch_rows: int) -> int:
    return _header(id) + cells_needed(max_batch_rows)
