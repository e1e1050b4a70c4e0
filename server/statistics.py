"""Where the counters live: a shared directory with a few files per replica, each with the counters of many models.

Each replica maps and writes its own files, the sheets `<replica>~<number>`; whoever is asked reads everyone's and adds
them up. A replica that dies leaves its counts behind and the one that takes its place goes on from them (gauges start
at zero again). There is one record per model version and batch limit, also after the model was unloaded.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from headrace.cell import GAUGES, IN_FLIGHT, LAST_INFERENCE_MS, SUCCESSES
from headrace.counters import ModelCounters
from headrace.models import ModelId
from server.holdings import Holdings
from server.sheets import Sheet, records

REFUSALS = ModelId("", 0)
"""Counts requests that never got as far as a loaded model."""


class Statistics:
    """The counters of a replica, and the sums over the pool."""

    def __init__(self, directory: Path, replica: int) -> None:
        self._directory = directory
        self.replica = replica
        self.holdings = Holdings(directory, replica)
        """What models take of memory."""
        self._sheets: list[Sheet] = []
        self._mine: dict[tuple[ModelId, int], memoryview] = {}

    def open(self, model: ModelId, max_batch_rows: int) -> ModelCounters:
        """This replica's counters of one model version, continued if there are any."""
        if not self._sheets:
            self._take_over()
        cells = self._mine.get((model, max_batch_rows))
        if cells is None:
            cells = self._mine[model, max_batch_rows] = self._add(model, max_batch_rows)
        return ModelCounters(max_batch_rows, cells)

    def totals(self) -> dict[ModelId, ModelCounters]:
        """The sums over all replicas, past ones included, by model version; `REFUSALS` among them."""
        return self.totals_and_shares()[0]

    def totals_and_shares(self) -> tuple[dict[ModelId, ModelCounters], Counter[int]]:
        """`totals`, and by replica how many of the requests it has answered with success."""
        sums: dict[ModelId, ModelCounters] = {}
        answered: Counter[int] = Counter()
        for path in self._directory.glob("*~*"):
            data = path.read_bytes()
            replica = int(path.name.partition("~")[0])
            for model, max_batch_rows, cells in records(memoryview(data).cast("q")):
                total = sums.get(model)
                if total is None or total.max_batch_rows < max_batch_rows:
                    total = sums[model] = _widened(total, max_batch_rows)
                total.include(cells)
                answered[replica] += cells[SUCCESSES]
        return dict(sorted(sums.items())), answered

    def _take_over(self) -> None:
        """Go on from what an earlier replica in this place has left."""
        while (path := self._path(len(self._sheets))).exists():
            self._sheets.append(Sheet.open(path))
        for sheet in self._sheets:
            for model, max_batch_rows, cells in sheet.records():
                self._mine[model, max_batch_rows] = cells
                for gauge in GAUGES:
                    cells[gauge] = 0

    def _add(self, model: ModelId, max_batch_rows: int) -> memoryview:
        cells = self._sheets[-1].add(model, max_batch_rows) if self._sheets else None
        if cells is None:
            self._sheets.append(Sheet.create(self._path(len(self._sheets)), model, max_batch_rows))
            cells = self._sheets[-1].add(model, max_batch_rows)
        assert cells is not None
        return cells

    def _path(self, number: int) -> Path:
        return self._directory / f"{self.replica}~{number}"


def last_uses_ms(directory: Path, now_ms: int) -> dict[str, int]:
    """When each model was last used by any replica, in milliseconds since 1970; `now_ms` while it runs a request.

    Of all its versions, past ones included; a model that was never loaded is not there.
    """
    last: dict[str, int] = {}
    for path in directory.glob("*~*"):
        for id, _, cells in records(memoryview(path.read_bytes()).cast("q")):
            used = now_ms if cells[IN_FLIGHT] > 0 else cells[LAST_INFERENCE_MS]
            last[id.name] = max(last.get(id.name, 0), used)
    return last


def _widened(counters: ModelCounters | None, max_batch_rows: int) -> ModelCounters:
    """A private copy with room for larger batches."""
    wider = ModelCounters(max_batch_rows)
    if counters is not None:
        wider.include(counters.cells)
    return wider
