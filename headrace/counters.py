"""What is counted per model version: plain 64-bit integers in memory that several processes may map.

Each replica writes its own `ModelCounters` (one writer, no lock) and whoever is asked sums those of all replicas, so
a scrape costs the hot path nothing and a replica that dies loses no count. Times are nanoseconds.

Layout, in cells of 8 bytes: those of `headrace.cell` | failures per slug | three histograms | the batch table with
`BATCH_CELLS` per batch size 1..max_batch_rows. Larger batches (there are none by contract) count in the last line.
"""

from __future__ import annotations

import time
from bisect import bisect_left

import numpy as np

from headrace import cell
from headrace.errors import SLUGS

BUCKETS_S: tuple[float, ...] = (
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Upper bounds of the duration histograms, in seconds; one more bucket holds the rest."""
BUCKETS_NS = tuple(round(bound * 1e9) for bound in BUCKETS_S)


_FAILURES_AT = cell.COUNT
_HISTOGRAM = len(BUCKETS_S) + 1
REQUEST_AT = _FAILURES_AT + len(SLUGS)
QUEUE_AT = REQUEST_AT + _HISTOGRAM
COMPUTE_AT = QUEUE_AT + _HISTOGRAM
BATCHES_AT = COMPUTE_AT + _HISTOGRAM
BATCH_CELLS = 4
"""Per batch size: batches, input ns, infer ns, output ns."""
_SLUG_CELL = {slug: _FAILURES_AT + index for index, slug in enumerate(SLUGS)}

REASON_AT = {reason: cell.REASONS + index for index, reason in enumerate(cell.REASON_NAMES)}
"""Why a batch was closed -> the cell that counts it."""
LEFT_AT = {"shed": cell.SHED, "left_late": cell.LEFT_LATE, "expired": cell.EXPIRED}
"""How a request with a deadline ended that was not run -> the cell that counts it."""


def cells_needed(max_batch_rows: int) -> int:
    """Cells of a model whose batches have at most this many rows."""
    return BATCHES_AT + BATCH_CELLS * max_batch_rows


class ModelCounters:
    """The counters of one model version in one replica. Written by the event loop only; readable by anyone.

    `cells` is a memoryview of format "q" and of `cells_needed(max_batch_rows)` items; without it, private memory.
    """

    __slots__ = ("cells", "max_batch_rows")

    def __init__(self, max_batch_rows: int, cells: memoryview | None = None) -> None:
        self.max_batch_rows = max_batch_rows
        self.cells = memoryview(bytearray(8 * cells_needed(max_batch_rows))).cast("q") if cells is None else cells
        assert len(self.cells) == cells_needed(max_batch_rows)

    def batch_ran(self, rows: int, queued_ns: list[int], input_ns: int, infer_ns: int, output_ns: int) -> None:
        """A batch has been run for requests that had waited `queued_ns` each."""
        cells, requests = self.cells, len(queued_ns)
        for waited in queued_ns:
            cells[QUEUE_AT + bisect_left(BUCKETS_NS, waited)] += 1
        cells[COMPUTE_AT + bisect_left(BUCKETS_NS, infer_ns)] += 1
        cells[cell.QUEUE_NS] += sum(queued_ns)
        cells[cell.INPUT_NS] += input_ns * requests
        cells[cell.INFER_NS] += infer_ns * requests
        cells[cell.OUTPUT_NS] += output_ns * requests
        cells[cell.ROWS] += rows
        cells[cell.BATCHES] += 1
        cells[cell.LAST_INFERENCE_MS] = time.time_ns() // 1_000_000
        line = BATCHES_AT + BATCH_CELLS * (min(rows, self.max_batch_rows) - 1)
        if rows:
            cells[line] += 1
            cells[line + 1] += input_ns
            cells[line + 2] += infer_ns
            cells[line + 3] += output_ns

    def succeeded(self, took_ns: int) -> None:
        """A request was answered `took_ns` after the data plane got it."""
        cells = self.cells
        cells[cell.SUCCESSES] += 1
        cells[cell.SUCCESS_NS] += took_ns
        cells[REQUEST_AT + bisect_left(BUCKETS_NS, took_ns)] += 1

    def failed(self, slug: str, took_ns: int = 0) -> None:
        """A request ended with the error `slug`."""
        cells = self.cells
        cells[cell.FAILURES] += 1
        cells[cell.FAILURE_NS] += took_ns
        cells[_SLUG_CELL[slug]] += 1

    def add(self, gauge: int, amount: int) -> None:
        """Move a gauge."""
        self.cells[gauge] += amount

    def include(self, other: memoryview) -> None:
        """Add the cells of other counters of the same model, which have at most as many."""
        last = max(self.cells[cell.LAST_INFERENCE_MS], other[cell.LAST_INFERENCE_MS])
        mine = np.frombuffer(self.cells, np.int64)
        mine[: len(other)] += np.frombuffer(other, np.int64)
        mine[cell.LAST_INFERENCE_MS] = last

    def failures(self) -> dict[str, int]:
        """Failures by slug, those that happened."""
        return {slug: self.cells[at] for slug, at in _SLUG_CELL.items() if self.cells[at]}

    def batch_table(self) -> list[tuple[int, int, int, int, int]]:
        """(rows, batches, input ns, infer ns, output ns) for each batch size that ran."""
        table = []
        for size in range(1, self.max_batch_rows + 1):
            line = BATCHES_AT + BATCH_CELLS * (size - 1)
            if self.cells[line]:
                batches, input_ns, infer_ns, output_ns = self.cells[line : line + BATCH_CELLS]
                table.append((size, batches, input_ns, infer_ns, output_ns))
        return table

    def histogram(self, start: int) -> list[int]:
        """Counts per bucket of the histogram at REQUEST_AT, QUEUE_AT or COMPUTE_AT (not cumulative)."""
        return self.cells[start : start + _HISTOGRAM].tolist()
