"""What `GET /v2/models/M/batcher` answers, for somebody at a terminal: sentences and tables. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table

from server.tables import forecasts, plain, short


def portrait(said: dict[str, Any]) -> Iterator[str | Table]:
    """Who answered, what it does and why, what it has learnt, what the recent requests would cost otherwise."""
    replica, replicas = said["replica"], said.get("replicas", 1)
    others = f" of {replicas} (each request may reach another)" if replicas > 1 else ""
    yield f"{said['model']}/{said['version']}, replica {replica}{others}: {_controller(said)}"
    yield from (f"- {why}" for why in said.get("why", ()))
    yield from _arrivals(said.get("arrivals"))
    closed = {reason: count for reason, count in said.get("batches_closed", {}).items() if count}
    if closed:
        yield f"- batches closed: {', '.join(f'{count:,} {reason}' for reason, count in closed.items())}"
    if "curve" in said:
        yield from _curve(said["curve"])
    if said.get("forecasts"):
        yield "\nwhat the recent requests would find, latencies in ms:"
        yield forecasts(said["forecasts"])


def _controller(said: dict[str, Any]) -> str:
    limits, objective = said.get("limits", {}), said.get("objective")
    after = f" for {objective}" if objective else ""
    slo_ms, delay_ms = said.get("slo_ms"), limits.get("max_queue_delay_ms")
    within = f" within {slo_ms:g} ms" if slo_ms else ""
    held = f", held back for {delay_ms:g} ms at most" if delay_ms is not None else ""
    return f"{said['controller']}{after}{within}, batches of {limits.get('max_batch_rows', '?')} rows at most{held}"


def _arrivals(arrivals: dict[str, Any] | None) -> Iterator[str]:
    if not arrivals or not arrivals["requests"]:
        return
    thinks = arrivals["think_ms"]
    clients = f"; {arrivals['clients']} clients think {thinks['p50']:g} ms (median)" if thinks else ""
    yield (
        f"- the last {arrivals['requests']} requests it remembers: {arrivals['requests_per_s']:g} a second of"
        f" {arrivals['rows_per_request']:g} rows, burstiness {arrivals['burstiness']:g}{clients}"
    )


def _curve(curve: dict[str, Any]) -> Iterator[str | Table]:
    low, high = curve["noise"]["p10"], curve["noise"]["p90"]
    yield f"\nthe curve, from {curve['runs']:,} runs, most of which took {low:.2f} to {high:.2f} times as long:"
    table = plain()
    for column in ("rows", "ms", "rows/s"):
        table.add_column(column, justify="right")
    for size in curve["sizes"]:
        table.add_row(str(size["rows"]), f"{size['ms']:.3g}", short(size["rows"] / size["ms"] * 1e3))
    yield table
