"""`/metrics` for Prometheus: the counters of all replicas, read and summed when they are scraped.

Nothing is registered, incremented or locked per request. `exposition` writes the text.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import get_args

from headrace import __version__, cell
from headrace.counters import BUCKETS_S, COMPUTE_AT, LEFT_AT, QUEUE_AT, REASON_AT, REQUEST_AT, ModelCounters
from headrace.models import ModelId
from model_repo.found import ASLEEP
from model_repo.index import IndexRow
from server.exposition import Kind, head, histogram, labels, simple
from server.pool import journal
from server.pool.board import Board, State
from server.statistics import REFUSALS, Statistics

_ROWS = tuple(2**power for power in range(17))
_BOUNDS = tuple(map(str, BUCKETS_S))  # writing 68,000 floats takes longer than all the rest of the line
_CELLS: tuple[tuple[str, Kind, str, int], ...] = (
    ("headrace_requests_total", "counter", "Requests answered with success.", cell.SUCCESSES),
    ("headrace_rows_total", "counter", "Rows that were run.", cell.ROWS),
    ("headrace_batches_total", "counter", "Batches that were run.", cell.BATCHES),
    ("headrace_queue_rows", "gauge", "Rows waiting for their batch.", cell.QUEUE_ROWS),
    ("headrace_requests_in_flight", "gauge", "Requests accepted and not yet answered.", cell.IN_FLIGHT),
)
_INDEX_STATES = ("ready", "loading", "unloading", "unavailable", "asleep")
_DURATIONS = (
    ("headrace_request_seconds", "Time from decoded request to outputs.", REQUEST_AT, cell.SUCCESS_NS),
    ("headrace_queue_seconds", "Time a request waited for its batch.", QUEUE_AT, cell.QUEUE_NS),
    ("headrace_compute_seconds", "Time a batch ran on its executor.", COMPUTE_AT, None),
)


class PoolMetrics:
    """The text over the pool's counters and board, the repository index, and counts of events by kind."""

    def __init__(
        self,
        statistics: Statistics,
        board: Board,
        index: Callable[[], Iterable[IndexRow]] = lambda: (),
        events: Callable[[], Mapping[str, int]] = lambda: {},
    ) -> None:
        self._statistics = statistics
        self._board = board
        self._index = index
        self._events = events

    @property
    def replicas(self) -> int:
        """Of the pool."""
        return len(self._board.replicas())

    def text(self) -> bytes:
        """The exposition in Prometheus' text format."""
        totals, answered = self._statistics.totals_and_shares()
        refusals = totals.pop(REFUSALS, None)
        return "".join((*_model_text(totals), *self._pool_text(refusals, answered))).encode()

    def _pool_text(self, refusals: ModelCounters | None, answered: Mapping[int, int]) -> Iterator[str]:
        refused = refusals.failures().items() if refusals else ()
        yield simple(
            "headrace_requests_refused_total",
            "counter",
            "Requests that named no ready model or could not be decoded.",
            [(labels(reason=slug), count) for slug, count in refused],
        )
        found = Counter("asleep" if row.reason == ASLEEP else row.state.lower() for row in self._index())
        shown = [(labels(state=state), found[state]) for state in _INDEX_STATES]
        yield simple("headrace_model_versions", "gauge", "Rows of the repository index.", shown)
        taken = [
            (labels(device=device, model=id.name, version=str(id.version)), count)
            for id, devices in sorted(self._statistics.holdings.totals().items())
            for device, count in sorted(devices.items())
        ]
        yield simple("headrace_model_memory_bytes", "gauge", "Memory that a model takes, in all processes.", taken)
        replicas = self._board.replicas()
        states = Counter(replica.state for replica in replicas)
        shown = [(labels(state=state.name.lower()), states[state]) for state in State]
        yield simple("headrace_replicas", "gauge", "Server processes by state.", shown)
        for port, name in (("http", "HTTP"), ("grpc", "gRPC")):
            open_ones = [(labels(replica=str(replica.index)), getattr(replica, port)) for replica in replicas]
            yield simple(f"headrace_{port}_connections", "gauge", f"Open {name} connections.", open_ones)
        shares = [(labels(replica=str(replica.index)), answered.get(replica.index, 0)) for replica in replicas]
        yield simple("headrace_replica_requests_total", "counter", "Requests answered with success.", shares)
        restarts = [(labels(replica=str(replica.index)), max(0, replica.generation - 1)) for replica in replicas]
        yield simple("headrace_replica_restarts_total", "counter", "Replicas started again.", restarts)
        events = [(labels(kind=kind), self._events().get(kind, 0)) for kind in get_args(journal.Kind)]
        yield simple("headrace_events_total", "counter", "What has happened to models and replicas.", events)
        build = [(labels(version=__version__), 1)]
        yield simple("headrace_build_info", "gauge", "Always 1; the version is the label.", build)


def _model_text(totals: dict[ModelId, ModelCounters]) -> Iterator[str]:
    labelled = [(labels(model=id.name, version=str(id.version)), counted) for id, counted in totals.items()]
    for name, kind, help_text, at in _CELLS:
        yield simple(name, kind, help_text, [(each, counted.cells[at]) for each, counted in labelled])
    failures = [
        (labels(model=id.name, reason=slug, version=str(id.version)), count)
        for id, counted in totals.items()
        for slug, count in counted.failures().items()
    ]
    yield simple("headrace_request_failures_total", "counter", "Requests that failed.", failures)
    closed = [
        (labels(model=id.name, reason=reason, version=str(id.version)), counted.cells[at])
        for id, counted in totals.items()
        for reason, at in REASON_AT.items()
        if counted.cells[at]
    ]
    yield simple("headrace_batches_closed_total", "counter", "Batches by why they were closed.", closed)
    left = [
        (labels(model=id.name, reason=reason, version=str(id.version)), counted.cells[at])
        for id, counted in totals.items()
        for reason, at in LEFT_AT.items()
        if counted.cells[at]
    ]
    yield simple("headrace_requests_left_total", "counter", "Requests with a deadline that were not run, by why.", left)
    tables = [counted.batch_table() for _, counted in labelled]
    for name, help_text, start, sum_cell in _DURATIONS:
        yield head(name, "histogram", help_text)
        for (each, counted), table in zip(labelled, tables, strict=True):
            total_ns = counted.cells[sum_cell] if sum_cell is not None else sum(row[3] for row in table)
            yield from histogram(name, _BOUNDS, counted.histogram(start), each, total_ns / 1e9)
    yield head("headrace_batch_rows", "histogram", "Rows per batch.")
    for (each, counted), table in zip(labelled, tables, strict=True):
        bounds = [bound for bound in _ROWS if bound < 2 * counted.max_batch_rows]
        counts = [0] * (len(bounds) + 1)
        for rows, batches, *_ in table:
            counts[bisect_left(bounds, rows)] += batches
        yield from histogram("headrace_batch_rows", list(map(str, bounds)), counts, each, counted.cells[cell.ROWS])
