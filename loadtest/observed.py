"""What the server itself says of a run: V2 statistics and Prometheus metrics, read before and after it.

Pure but for `Observer`, which asks. What a server does not offer is not there; it is no error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

from loadtest.target import TIMEOUT_S, Model, Target, TargetError

Metrics = dict[str, float]
"""Series, as it is written, -> value."""
_LINE = re.compile(r"^([a-zA-Z_:][\w:]*(?:\{.*\})?)\s+(\S+)", re.MULTILINE)
_REPLICA = re.compile(r'headrace_replica_requests_total\{replica="(\d+)"\}')
SPLIT = {"queue": "queue", "input": "compute_input", "infer": "compute_infer", "output": "compute_output"}
"""Our name -> V2's, of where a request's time goes in the server."""


@dataclass(slots=True)
class Counted:
    """Of one model, over all its versions, since the server began. `ns`: summed over requests; `batches`: by size."""

    requests: int = 0
    failed: int = 0
    rows: int = 0
    runs: int = 0
    ns: dict[str, int] = field(default_factory=dict)
    batches: dict[int, int] = field(default_factory=dict)

    def include(self, row: Any) -> None:
        """A row of `model_stats`."""
        stats = row.get("inference_stats") or {}
        self.requests += _int(stats.get("success"), "count")
        self.failed += _int(stats.get("fail"), "count")
        self.rows += _int(row, "inference_count")
        self.runs += _int(row, "execution_count")
        for name, theirs in (("total", "success"), *SPLIT.items()):
            self.ns[name] = self.ns.get(name, 0) + _int(stats.get(theirs), "ns")
        for batch in row.get("batch_stats") or ():
            size = int(batch["batch_size"])
            self.batches[size] = self.batches.get(size, 0) + _int(batch.get("compute_infer"), "count")


def _int(row: Any, name: str) -> int:
    return int((row or {}).get(name) or 0)


@dataclass(frozen=True, slots=True)
class Seen:
    """At one moment."""

    models: dict[str, Counted]
    metrics: Metrics


def between(before: Seen, after: Seen) -> dict[str, Any]:
    """What happened meanwhile, as JSON; empty if the server says nothing. Times are means over requests."""
    models = {name: _model(before.models[name], now) for name, now in after.models.items() if name in before.models}
    metrics = {name: round(value - before.metrics.get(name, 0.0), 9) for name, value in after.metrics.items()}
    moved = {name: value for name, value in metrics.items() if value and "_bucket{" not in name}
    replicas = {found[1]: value for name, value in metrics.items() if (found := _REPLICA.fullmatch(name))}
    parts = {"models": {name: each for name, each in models.items() if each}, "replicas": replicas, "metrics": moved}
    return {name: part for name, part in parts.items() if part}


def _model(before: Counted, after: Counted) -> dict[str, Any]:
    requests, runs = after.requests - before.requests, after.runs - before.runs
    if requests <= 0:
        return {}
    batches = {size: count - before.batches.get(size, 0) for size, count in sorted(after.batches.items())}
    return {
        "requests": requests,
        "failed": after.failed - before.failed,
        **{f"{name}_ms": round((ns - before.ns.get(name, 0)) / requests / 1e6, 6) for name, ns in after.ns.items()},
        "rows_per_batch": round((after.rows - before.rows) / runs, 3) if runs else 0.0,
        "batches": {str(size): count for size, count in batches.items() if count},
    }


def parse(text: str) -> Metrics:
    """Prometheus' text format: series and values; all else is passed over."""
    return dict(_numbers(text))


def _numbers(text: str) -> Iterator[tuple[str, float]]:
    for name, value in _LINE.findall(text):
        with suppress(ValueError):
            yield name, float(value)


class Observer:
    """Asks a server about models, and for the metrics at a URL if one is known. `target` belongs to whoever gave it."""

    def __init__(self, target: Target | None, models: Sequence[Model], metrics_url: str) -> None:
        self._target, self._models, self._metrics_url = target, models, metrics_url

    def look(self) -> Seen:
        """Now."""
        models: dict[str, Counted] = {}
        for model in self._models if self._target else ():
            with suppress(TargetError, KeyError, TypeError, ValueError):  # whatever a server may write
                assert self._target is not None
                counted = Counted()
                for row in self._target.statistics(model):
                    counted.include(row)
                models[model.full_name] = counted
        return Seen(models, self._metrics())

    def _metrics(self) -> Metrics:
        if self._metrics_url:
            with suppress(httpx.HTTPError):
                answer = httpx.get(self._metrics_url, timeout=TIMEOUT_S)
                if answer.status_code == 200:
                    return parse(answer.text)
        return {}
