"""A run as a document of JSON values: counts, latencies, windows, and how far the generator can be believed.

`SCHEMA` changes when a key changes its meaning or goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any, TypeAlias

from hdrh.histogram import HdrHistogram

from loadtest import histogram
from loadtest.tally import ClosedWindow, Tally

Findings: TypeAlias = dict[str, Any]

SCHEMA = 1
SHARES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
LAG_MS = 1.0
BUSY = 0.9
"""Share of its core past which the generator may be what is measured."""
T_95 = (
    12.71,
    4.30,
    3.18,
    2.78,
    2.57,
    2.45,
    2.36,
    2.31,
    2.26,
    2.23,
    2.20,
    2.18,
    2.16,
    2.14,
    2.13,
    2.12,
    2.11,
    2.10,
    2.09,
)
"""Student's t, two-sided 95 %, for 1, 2, ... degrees of freedom; 1.96 for more."""


def findings(tally: Tally, load: str, cpu: float, *, bound: bool) -> Findings:
    """`cpu`: share of a core that the generator needed. `bound`: the load is at given times, so lags matter."""
    latencies, seconds = tally.histogram, max(tally.seconds, 1e-9)
    lag_ms = histogram.quantile_ms(tally.lags, 0.99)
    doubts = []
    if bound and lag_ms > LAG_MS:
        doubts.append(f"1 % of the requests were sent more than {lag_ms:.1f} ms late though a connection was free")
    if cpu > BUSY and not bound:
        doubts.append(f"the generator needed {cpu:.0%} of its core")
    count = latencies.get_total_count()
    whole = [window for window in tally.windows if window.end_s <= seconds + 1e-9]
    return {
        "schema": SCHEMA,
        "load": load,
        "seconds": round(seconds, 3),
        "requests": {
            "sent": tally.sent,
            "ok": tally.ok,
            "wrong": tally.wrong,
            "failed": tally.failed,
            "timed_out": tally.timed_out,
            "unfinished": tally.unfinished,
        },
        "what": dict(tally.kinds.most_common()),
        "per_s": round(tally.ok / seconds, 2),
        "per_s_95": interval([window.ok / (window.end_s - window.start_s) for window in whole]),
        "latency_ms": {
            "mean": round(latencies.get_mean_value() / 1e3, 4) if count else 0.0,
            **{name: histogram.quantile_ms(latencies, share) for name, share in SHARES.items()},
            "max": round(latencies.get_max_value() / 1e3, 3) if count else 0.0,
        },
        "p99_ms_95": interval([window["p99_ms"] for window in map(_window, whole) if window["ok"]]),
        "bytes": {"sent": tally.bytes_out, "received": tally.bytes_in},
        "generator": {"lag_ms_p99": round(lag_ms, 4), "cpu": round(cpu, 3), "doubts": doubts},
        "windows": [_window(window) for window in tally.windows],
        "histogram": latencies.encode().decode(),
    }


def _window(window: ClosedWindow) -> Findings:
    seen = HdrHistogram.decode(window.histogram)
    return {
        "start_s": round(window.start_s, 3),
        "end_s": round(window.end_s, 3),
        "ok": window.ok,
        "bad": window.bad,
        "mean_ms": round(seen.get_mean_value() / 1e3, 4) if window.ok else 0.0,
        "p50_ms": histogram.quantile_ms(seen, 0.5),
        "p99_ms": histogram.quantile_ms(seen, 0.99),
        "histogram": window.histogram.decode(),
    }


def interval(values: Sequence[float]) -> list[float] | None:
    """Where the mean lies with 95 %, by Student's t over windows; None if there are fewer than three."""
    if len(values) < 3:
        return None
    degrees = len(values) - 1
    t = T_95[degrees - 1] if degrees <= len(T_95) else 1.96
    mean, half = fmean(values), t * stdev(values) / len(values) ** 0.5
    return [round(mean - half, 3), round(mean + half, 3)]
