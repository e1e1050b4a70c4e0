"""Forecasts as a table in the terminal, for `headrace simulate` and `headrace models batcher`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

_LATENCIES = {"mean_ms": "mean", "p50_ms": "p50", "p99_ms": "p99"}
_SHARES = {"within_slo": "in SLO", "in_time": "in time", "refused": "refused"}
"""Columns that are there if any line has them."""


def forecasts(rows: Sequence[Mapping[str, Any]]) -> Table:
    """A line for each, latencies in ms. A latency that is None is that of settings which fall behind."""
    shares = {key: name for key, name in _SHARES.items() if any(row.get(key) is not None for row in rows)}
    table = plain(gap=1 if len(shares) > 1 else 2)  # a terminal has 80 columns
    table.add_column("settings", no_wrap=True)
    for column in (*_LATENCIES.values(), *shares.values(), "req/s", "busy", "rows"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        cells = [short(row[key]) if row[key] is not None else "" for key in _LATENCIES]
        cells += [f"{row[key]:.1%}" if row[key] is not None else "" for key in shares]
        if row["mean_ms"] is None:
            cells[0] = "falls behind"
        numbers = (short(row["requests_per_s"]), f"{row['utilisation']:.2f}", f"{row['batch_rows']:.3g}")
        table.add_row(row["settings"], *cells, *numbers)
    return table


def plain(gap: int = 2) -> Table:
    """A table of no columns yet, without lines, `gap` spaces between columns."""
    return Table(box=None, padding=(0, gap, 0, 0))


def short(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
