"""A run as a document of JSON values: counts, latencies, windows, and how far the generator can be believed.

`SCHEMA` changes when a key changes its meaning or goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from hdrh.histogram import HdrHistogram

from loadtest import histogram
from loadtest.settled import Numbers, interval, numbers, settled
from loadtest.tally import ClosedWindow, Tally

Findings: TypeAlias = dict[str, Any]

SCHEMA = 1
SHARES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
LAG_MS = 1.0
BUSY = 0.9
"""Share of its core past which the generator may be what is measured."""


def findings(tally: Tally, load: str, cpu: float, *, bound: bool, precision: float = 0.0) -> Findings:
    """`cpu`: share of a core that the generator needed. `bound`: the load is at given times, so lags matter.

    `precision`: how well the numbers were to be known (`settled`); 0: it was not asked for.
    """
    latencies, seconds = tally.histogram, max(tally.seconds, 1e-9)
    lag_ms = histogram.quantile_ms(tally.lags, 0.99)
    doubts = []
    if bound and lag_ms > LAG_MS:
        doubts.append(f"1 % of the requests were sent more than {lag_ms:.1f} ms late though a connection was free")
    if cpu > BUSY and not bound:
        doubts.append(f"the generator needed {cpu:.0%} of its core")
    windows = [(window, numbers(window)) for window in tally.windows]
    whole = [seen for window, seen in windows if window.end_s <= seconds + 1e-9]
    answered = [seen for seen in whole if seen.per_s]
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
        "per_s_95": _between([seen.per_s for seen in whole]),
        "latency_ms": _latencies(latencies),
        "mean_ms_95": _between([seen.mean_ms for seen in answered]),
        "p99_ms_95": _between([seen.p99_ms for seen in answered]),
        "precision": precision,
        "settled": settled(whole, precision, rates=not bound) if precision else None,
        "models": {
            name: {
                "ok": share.histogram.get_total_count(),
                "bad": share.bad,
                "per_s": round(share.histogram.get_total_count() / seconds, 2),
                "latency_ms": _latencies(share.histogram),
            }
            for name, share in sorted(tally.models.items())
        },
        "bytes": {"sent": tally.bytes_out, "received": tally.bytes_in},
        "generator": {"lag_ms_p99": round(lag_ms, 4), "cpu": round(cpu, 3), "doubts": doubts},
        "windows": [_window(*each) for each in windows],
        "histogram": latencies.encode().decode(),
    }


def _window(window: ClosedWindow, seen: Numbers) -> Findings:
    return {
        "start_s": round(window.start_s, 3),
        "end_s": round(window.end_s, 3),
        "ok": window.ok,
        "bad": window.bad,
        "in_flight": window.in_flight,
        "mean_ms": round(seen.mean_ms, 4),
        "p50_ms": seen.p50_ms,
        "p99_ms": seen.p99_ms,
        "histogram": window.histogram.decode(),
    }


def _latencies(seen: HdrHistogram) -> dict[str, float]:
    count = seen.get_total_count()
    return {
        "mean": round(seen.get_mean_value() / 1e3, 4) if count else 0.0,
        **{name: histogram.quantile_ms(seen, share) for name, share in SHARES.items()},
        "max": round(seen.get_max_value() / 1e3, 3) if count else 0.0,
    }


def _between(values: Sequence[float]) -> list[float] | None:
    found = interval(values)
    return [round(each, 3) for each in found] if found else None
