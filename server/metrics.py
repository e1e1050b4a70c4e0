"""`/metrics` for Prometheus: the counters of all replicas, read and summed when they are scraped.

Nothing is registered, incremented or locked per request; `prometheus_client` only writes the text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from headrace import __version__, cell
from headrace.counters import BUCKETS_S, COMPUTE_AT, QUEUE_AT, REQUEST_AT, ModelCounters
from headrace.models import ModelId
from model_repo.index import IndexRow
from model_repo.scan import ASLEEP
from server.pool.board import Board, State
from server.statistics import REFUSALS, Statistics

_MODEL = ["model", "version"]
_ROWS = tuple(2**power for power in range(17))


class PoolMetrics:
    """A prometheus_client collector over the pool's counters and board, and the repository index."""

    def __init__(
        self, statistics: Statistics, board: Board, index: Callable[[], Iterable[IndexRow]] = lambda: ()
    ) -> None:
        self._statistics = statistics
        self._board = board
        self._index = index

    def text(self) -> bytes:
        """The exposition in Prometheus' text format."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterable[Metric]:
        """All families. Called by prometheus_client."""
        totals = self._statistics.totals()
        refusals = totals.pop(REFUSALS, None)
        yield from _model_families(totals)
        refused = CounterMetricFamily(
            "headrace_requests_refused",
            "Requests that named no ready model or could not be decoded.",
            labels=["reason"],
        )
        for slug, count in (refusals.failures() if refusals else {}).items():
            refused.add_metric([slug], count)
        yield refused
        found = Counter("asleep" if row.reason == ASLEEP else row.state.lower() for row in self._index())
        models = GaugeMetricFamily("headrace_model_versions", "Rows of the repository index.", labels=["state"])
        for shown in ("ready", "loading", "unloading", "unavailable", "asleep"):
            models.add_metric([shown], found[shown])
        yield models
        replicas = self._board.replicas()
        state = GaugeMetricFamily("headrace_replicas", "Server processes by state.", labels=["state"])
        for kind in State:
            state.add_metric([kind.name.lower()], sum(replica.state is kind for replica in replicas))
        yield state
        connections = GaugeMetricFamily("headrace_http_connections", "Open HTTP connections.", labels=["replica"])
        restarts = CounterMetricFamily("headrace_replica_restarts", "Replicas started again.", labels=["replica"])
        for replica in replicas:
            connections.add_metric([str(replica.index)], replica.connections)
            restarts.add_metric([str(replica.index)], max(0, replica.generation - 1))
        yield connections
        yield restarts
        build = GaugeMetricFamily("headrace_build_info", "Always 1; the version is the label.", labels=["version"])
        build.add_metric([__version__], 1)
        yield build


def _model_families(totals: dict[ModelId, ModelCounters]) -> Iterable[Metric]:
    counters = {
        "headrace_requests": ("Requests answered with success.", cell.SUCCESSES),
        "headrace_rows": ("Rows that were run.", cell.ROWS),
        "headrace_batches": ("Batches that were run.", cell.BATCHES),
    }
    for name, (help_text, at) in counters.items():
        family = CounterMetricFamily(name, help_text, labels=_MODEL)
        for id, counted in totals.items():
            family.add_metric(_labels(id), counted.cells[at])
        yield family
    failures = CounterMetricFamily("headrace_request_failures", "Requests that failed.", labels=[*_MODEL, "reason"])
    for id, counted in totals.items():
        for slug, count in counted.failures().items():
            failures.add_metric([*_labels(id), slug], count)
    yield failures
    gauges = {
        "headrace_queue_rows": ("Rows waiting for their batch.", cell.QUEUE_ROWS),
        "headrace_requests_in_flight": ("Requests accepted and not yet answered.", cell.IN_FLIGHT),
    }
    for name, (help_text, at) in gauges.items():
        gauge = GaugeMetricFamily(name, help_text, labels=_MODEL)
        for id, counted in totals.items():
            gauge.add_metric(_labels(id), counted.cells[at])
        yield gauge
    histograms = {
        "headrace_request_seconds": ("Time from decoded request to outputs.", REQUEST_AT, cell.SUCCESS_NS),
        "headrace_queue_seconds": ("Time a request waited for its batch.", QUEUE_AT, cell.QUEUE_NS),
        "headrace_compute_seconds": ("Time a batch ran on its executor.", COMPUTE_AT, None),
    }
    for name, (help_text, start, sum_cell) in histograms.items():
        histogram = HistogramMetricFamily(name, help_text, labels=_MODEL)
        for id, counted in totals.items():
            total_ns = counted.cells[sum_cell] if sum_cell is not None else sum(row[3] for row in counted.batch_table())
            buckets = _cumulative(BUCKETS_S, counted.histogram(start))
            histogram.add_metric(_labels(id), buckets, total_ns / 1e9)
        yield histogram
    sizes = HistogramMetricFamily("headrace_batch_rows", "Rows per batch.", labels=_MODEL)
    for id, counted in totals.items():
        bounds = [bound for bound in _ROWS if bound < 2 * counted.max_batch_rows]
        counts = [0] * (len(bounds) + 1)
        for rows, batches, *_ in counted.batch_table():
            counts[next((at for at, bound in enumerate(bounds) if rows <= bound), len(bounds))] += batches
        sizes.add_metric(_labels(id), _cumulative(bounds, counts), counted.cells[cell.ROWS])
    yield sizes


def _labels(id: ModelId) -> list[str]:
    return [id.name, str(id.version)]


def _cumulative(bounds: Iterable[float], counts: list[int]) -> list[tuple[str, float]]:
    """prometheus_client's bucket form: (upper bound, how many at most that large), ending with +Inf."""
    total, buckets = 0, []
    for bound, count in zip([*map(str, bounds), "+Inf"], counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets
