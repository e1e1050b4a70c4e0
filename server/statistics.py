"""Where the counters live: a shared directory with one small file per replica, model version and batch limit.

Each replica maps and writes its own files; whoever is asked reads everyone's and adds them up. A replica that dies
leaves its counts behind and the one that takes its place goes on from them (gauges start at zero again).
File: `<model>/<replica>~<version>~<max_batch_rows>`, the cells of `headrace.counters` as native 64-bit integers. The
model has a folder with its name in the repository too, so the name is no longer than a file system takes.
"""

from __future__ import annotations

import mmap
from pathlib import Path

from headrace.cell import COUNT, GAUGES, IN_FLIGHT, LAST_INFERENCE_MS
from headrace.counters import ModelCounters, cells_needed
from headrace.models import ModelId

REFUSALS = ModelId("", 0)
"""Counts requests that never got as far as a loaded model."""


class Statistics:
    """The counters of a replica, and the sums over the pool."""

    def __init__(self, directory: Path, replica: int) -> None:
        self._directory = directory
        self._replica = replica

    def open(self, model: ModelId, max_batch_rows: int) -> ModelCounters:
        """This replica's counters of one model version, continued if there are any."""
        path = self._directory / model.name / f"{self._replica}~{model.version}~{max_batch_rows}"
        path.parent.mkdir(exist_ok=True)
        size = 8 * cells_needed(max_batch_rows)
        with path.open("a+b") as file:
            file.truncate(size)
            cells = memoryview(mmap.mmap(file.fileno(), size)).cast("q")
        for gauge in GAUGES:
            cells[gauge] = 0
        return ModelCounters(max_batch_rows, cells)

    def totals(self) -> dict[ModelId, ModelCounters]:
        """The sums over all replicas, past ones included, by model version; `REFUSALS` among them."""
        sums: dict[ModelId, ModelCounters] = {}
        for path in sorted(self._directory.rglob("*~*~*")):
            _, version, rows = path.name.split("~")
            model, max_batch_rows = ModelId(path.parent.relative_to(self._directory).name, int(version)), int(rows)
            data = path.read_bytes()
            if len(data) != 8 * cells_needed(max_batch_rows):
                continue  # made this moment, not yet sized
            total = sums.get(model)
            if total is None or total.max_batch_rows < max_batch_rows:
                total = sums[model] = _widened(total, max_batch_rows)
            total.include(memoryview(data).cast("q"))
        return sums


def last_use_ms(directory: Path, model: str, now_ms: int) -> int:
    """When the model was last used by any replica, in milliseconds since 1970; `now_ms` while it runs a request.

    0: never. Of all its versions, past ones included; it reads two cells of each file and no more.
    """
    last = 0
    for path in (directory / model).glob("*~*~*"):
        with path.open("rb", buffering=0) as file:
            head = file.read(8 * COUNT)
        if len(head) == 8 * COUNT:
            cells = memoryview(head).cast("q")
            last = max(last, now_ms if cells[IN_FLIGHT] > 0 else cells[LAST_INFERENCE_MS])
    return last


def _widened(counters: ModelCounters | None, max_batch_rows: int) -> ModelCounters:
    """A private copy with room for larger batches."""
    wider = ModelCounters(max_batch_rows)
    if counters is not None:
        wider.include(counters.cells)
    return wider
