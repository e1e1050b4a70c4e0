"""Forecasts as a table in the terminal, for `headrace simulate` and `headrace models batcher`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

_LATENCIES = {"mean_ms": "mean", "p50_ms": "p50", "p99_ms": "p99"}


def forecasts(rows: Sequence[Mapping[str, Any]]) -> Table:
    """A line for each, latencies in ms. A latency that is None is that of settings which fall behind."""
    with_slo = any(row.get("within_slo") is not None for row in rows)
    table = plain()
    table.add_column("settings", no_wrap=True)
    for column in (*_LATENCIES.values(), *(["in SLO"] if with_slo else []), "requests/s", "busy", "rows/batch"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        cells = [short(row[key]) if row[key] is not None else "" for key in _LATENCIES]
        if with_slo:
            cells.append(f"{row['within_slo']:.1%}" if row["within_slo"] is not None else "")
        if row["mean_ms"] is None:
            cells[0] = "falls behind"
        numbers = (short(row["requests_per_s"]), f"{row['utilisation']:.2f}", f"{row['batch_rows']:.3g}")
        table.add_row(row["settings"], *cells, *numbers)
    return table


def plain() -> Table:
    """A table of no columns yet, without lines."""
    return Table(box=None, padding=(0, 2, 0, 0))


def short(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
