"""Writes dashboards/headrace.json: `python docker/grafana/make_dashboard.py`. The panels are the table below."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("dashboards") / "headrace.json"
SOURCE = {"type": "prometheus", "uid": "${source}"}
OF = '{model=~"$model"}'
RATE = "[$__rate_interval]"


def percentiles(metric: str) -> list[tuple[str, str]]:
    """Two queries over a histogram: what half and what nearly all stay under."""
    return [
        (
            f"histogram_quantile({share}, sum by (le, model) (rate({metric}_bucket{OF}{RATE})))",
            f"{{{{model}}}} p{share * 100:g}",
        )
        for share in (0.5, 0.9, 0.99)
    ]


ROWS: list[tuple[str, list[tuple[str, str, str, list[tuple[str, str]]]]]] = [
    (
        "Requests",
        [
            (
                "Answers",
                "reqps",
                "Requests answered with success, by model and version: a reload shows as one taking over from another.",
                [(f"sum by (model, version) (rate(headrace_requests_total{OF}{RATE}))", "{{model}}/{{version}}")],
            ),
            (
                "Latency",
                "s",
                "From the decoded request to its outputs, in the server.",
                percentiles("headrace_request_seconds"),
            ),
            (
                "Failures and refusals",
                "reqps",
                "Failed in the model or refused for want of time or room; and requests that never reached a model.",
                [
                    (
                        f"sum by (model, reason) (rate(headrace_request_failures_total{OF}{RATE}))",
                        "{{model}} {{reason}}",
                    ),
                    (f"sum by (reason) (rate(headrace_requests_refused_total{RATE}))", "no model: {{reason}}"),
                    (f"sum by (model, reason) (rate(headrace_requests_left_total{OF}{RATE}))", "{{model}} {{reason}}"),
                ],
            ),
        ],
    ),
    (
        "Batches",
        [
            (
                "Rows per batch",
                "short",
                "The mean, and what half and nearly all batches stay under.",
                [
                    (
                        f"sum by (model) (rate(headrace_rows_total{OF}{RATE}))"
                        f" / sum by (model) (rate(headrace_batches_total{OF}{RATE}))",
                        "{{model}} mean",
                    ),
                    *percentiles("headrace_batch_rows"),
                ],
            ),
            (
                "Time of a batch",
                "s",
                "On its executor.",
                percentiles("headrace_compute_seconds"),
            ),
            (
                "Why batches were closed",
                "ops",
                "docs/batching.md explains the reasons.",
                [
                    (
                        f"sum by (model, reason) (rate(headrace_batches_closed_total{OF}{RATE}))",
                        "{{model}} {{reason}}",
                    )
                ],
            ),
        ],
    ),
    (
        "Queue",
        [
            (
                "Rows waiting",
                "short",
                "For their batch, now.",
                [(f"sum by (model) (headrace_queue_rows{OF})", "{{model}}")],
            ),
            ("Time in the queue", "s", "Of requests that were run.", percentiles("headrace_queue_seconds")),
            (
                "Requests in flight",
                "short",
                "Accepted and not yet answered.",
                [(f"sum by (model) (headrace_requests_in_flight{OF})", "{{model}}")],
            ),
        ],
    ),
    (
        "Server",
        [
            (
                "Replicas",
                "short",
                "By state, and how many have been started again.",
                [
                    ("sum by (state) (headrace_replicas)", "{{state}}"),
                    ("sum(headrace_replica_restarts_total)", "started again"),
                ],
            ),
            (
                "Loads and reloads",
                "short",
                "Events of the last minute: versions published, refused, rolled back; replicas and engines lost.",
                [
                    (
                        'sum by (kind) (increase(headrace_events_total{kind!="ready"}[1m]))',
                        "{{kind}}",
                    )
                ],
            ),
            (
                "Model versions",
                "short",
                "Rows of the repository index, by state.",
                [("sum by (state) (headrace_model_versions)", "{{state}}")],
            ),
            (
                "Connections",
                "short",
                "Open, by replica.",
                [
                    ("sum by (replica) (headrace_http_connections)", "HTTP, replica {{replica}}"),
                    ("sum by (replica) (headrace_grpc_connections)", "gRPC, replica {{replica}}"),
                ],
            ),
            (
                "Answers by replica",
                "reqps",
                "Alike, if clients open enough connections.",
                [(f"sum by (replica) (rate(headrace_replica_requests_total{RATE}))", "replica {{replica}}")],
            ),
            (
                "Memory of models",
                "bytes",
                "By device, in all processes; docs/memory.md says how it is measured.",
                [(f"sum by (model, device) (headrace_model_memory_bytes{OF})", "{{model}} {{device}}")],
            ),
            ("Versions of the server", "short", "", [("sum by (version) (headrace_build_info)", "{{version}}")]),
        ],
    ),
]


def dashboard() -> dict[str, Any]:
    """The document as Grafana imports it."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in ROWS:
        panels.append(
            {"id": len(panels) + 1, "type": "row", "title": title, "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}}
        )
        y += 1
        for place, (name, unit, description, queries) in enumerate(row):
            at = {"x": place % 3 * 8, "y": y + place // 3 * 8, "w": 8, "h": 8}
            panels.append(_panel(len(panels) + 1, name, unit, description, queries, at))
        y += 8 * -(-len(row) // 3)
    published = 'sum(increase(headrace_events_total{kind=~"published|rolled_back"}[1m])) > 0'
    return {
        "uid": "headrace",
        "title": "Headrace",
        "tags": ["headrace"],
        "schemaVersion": 39,
        "time": {"from": "now-30m", "to": "now"},
        "refresh": "10s",
        "annotations": {
            "list": [
                {
                    "name": "A version was published or taken back",
                    "datasource": SOURCE,
                    "enable": True,
                    "iconColor": "blue",
                    "expr": published,
                    "step": "10s",
                }
            ]
        },
        "templating": {
            "list": [
                {"name": "source", "type": "datasource", "query": "prometheus", "label": "Prometheus"},
                {
                    "name": "model",
                    "type": "query",
                    "datasource": SOURCE,
                    "query": {"query": "label_values(headrace_requests_total, model)", "refId": "model"},
                    "refresh": 2,
                    "includeAll": True,
                    "multi": True,
                    "allValue": ".*",
                    "current": {"text": "All", "value": "$__all"},
                },
            ]
        },
        "panels": panels,
    }


def _panel(
    id_: int, name: str, unit: str, description: str, queries: list[tuple[str, str]], at: dict[str, int]
) -> dict[str, Any]:
    return {
        "id": id_,
        "type": "timeseries",
        "title": name,
        "description": description,
        "datasource": SOURCE,
        "gridPos": at,
        "fieldConfig": {"defaults": {"unit": unit, "min": 0, "custom": {"fillOpacity": 8}}, "overrides": []},
        "options": {"legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]}},
        "targets": [
            {"refId": chr(ord("A") + number), "datasource": SOURCE, "expr": query, "legendFormat": legend}
            for number, (query, legend) in enumerate(queries)
        ],
    }


def text() -> str:
    """The file."""
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
