"""What is counted per model version: plain 64-bit integers in memory that several processes may map.

Each replica writes its own `ModelCounters` (one writer, no lock) and whoever is asked sums those of all replicas, so
a scrape costs the hot path nothing and a replica that dies loses no count. Times are nanoseconds.

Layout, in cells of 8 bytes: the `Cell` scalars | failures per slug | three histograms | the batch table with
`BATCH_CELLS` per batch size 1..max_batch_rows. Larger batches (there are none by contract) count in the last line.
"""

from __future__ import annotations

import time
from bisect import bisect_left

import numpy as np

from headrace.errors import SLUGS

BUCKETS_S: tuple[float, ...] = (
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Upper bounds of the duration histograms, in seconds; one more bucket holds the rest."""
BUCKETS_NS = tuple(round(bound * 1e9) for bound in BUCKETS_S)


class Cell:
    """Scalar cells. `*_NS` are sums over requests, as V2's statistics extension wants them.

    Plain integers: a member of an IntEnum costs as much to look up as the addition that it is for.
    """

    SUCCESSES = 0
    SUCCESS_NS = 1
    FAILURES = 2
    FAILURE_NS = 3
    QUEUE_NS = 4
    INPUT_NS = 5
    INFER_NS = 6
    OUTPUT_NS = 7
    ROWS = 8
    BATCHES = 9
    LAST_INFERENCE_MS = 10
    QUEUE_ROWS = 11
    IN_FLIGHT = 12


_SCALARS = 13

GAUGES = (Cell.QUEUE_ROWS, Cell.IN_FLIGHT)
"""Cells that say what is now rather than what has been: they restart at zero with their process."""

_FAILURES_AT = _SCALARS
_HISTOGRAM = len(BUCKETS_S) + 1
REQUEST_AT = _FAILURES_AT + len(SLUGS)
QUEUE_AT = REQUEST_AT + _HISTOGRAM
COMPUTE_AT = QUEUE_AT + _HISTOGRAM
BATCHES_AT = COMPUTE_AT + _HISTOGRAM
BATCH_CELLS = 4
"""Per batch size: batches, input ns, infer ns, output ns."""
_SLUG_CELL = {slug: _FAILURES_AT + index for index, slug in enumerate(SLUGS)}


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
        cells[Cell.QUEUE_NS] += sum(queued_ns)
        cells[Cell.INPUT_NS] += input_ns * requests
        cells[Cell.INFER_NS] += infer_ns * requests
        cells[Cell.OUTPUT_NS] += output_ns * requests
        cells[Cell.ROWS] += rows
        cells[Cell.BATCHES] += 1
        cells[Cell.LAST_INFERENCE_MS] = time.time_ns() // 1_000_000
        line = BATCHES_AT + BATCH_CELLS * (min(rows, self.max_batch_rows) - 1)
        if rows:
            cells[line] += 1
            cells[line + 1] += input_ns
            cells[line + 2] += infer_ns
            cells[line + 3] += output_ns

    def succeeded(self, took_ns: int) -> None:
        """A request was answered `took_ns` after the data plane got it."""
        cells = self.cells
        cells[Cell.SUCCESSES] += 1
        cells[Cell.SUCCESS_NS] += took_ns
        cells[REQUEST_AT + bisect_left(BUCKETS_NS, took_ns)] += 1

    def failed(self, slug: str, took_ns: int = 0) -> None:
        """A request ended with the error `slug`."""
        cells = self.cells
        cells[Cell.FAILURES] += 1
        cells[Cell.FAILURE_NS] += took_ns
        cells[_SLUG_CELL[slug]] += 1

    def add(self, cell: int, amount: int) -> None:
        """Move a gauge."""
        self.cells[cell] += amount

    def include(self, other: memoryview) -> None:
        """Add the cells of other counters of the same model, which have at most as many."""
        last = max(self.cells[Cell.LAST_INFERENCE_MS], other[Cell.LAST_INFERENCE_MS])
        mine = np.frombuffer(self.cells, np.int64)
        mine[: len(other)] += np.frombuffer(other, np.int64)
        mine[Cell.LAST_INFERENCE_MS] = last

    def failures(self) -> dict[str, int]:
        """Failures by slug, those that happened."""
        return {slug: self.cells[cell] for slug, cell in _SLUG_CELL.items() if self.cells[cell]}

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
