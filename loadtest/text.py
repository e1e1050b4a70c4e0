"""Findings as text for a terminal or a log."""

from __future__ import annotations

from collections.abc import Iterator

from loadtest.findings import SHARES, Findings

HEAD = f"{'load':34} {'answers/s':>11} {'mean':>9} {'p50':>9} {'p99':>9} {'p99.9':>9} ms {'errors':>8}"


def row(found: Findings) -> str:
    """One line, to go under `HEAD`."""
    latency, requests = found["latency_ms"], found["requests"]
    numbers = " ".join(f"{latency[name]:9.3f}" for name in ("mean", "p50", "p99", "p99.9"))
    doubt = "  DOUBT: the generator" if found["generator"]["doubts"] else ""
    return f"{found['load']:34} {found['per_s']:11,.1f} {numbers}    {requests['sent'] - requests['ok']:8,}{doubt}"


def report(found: Findings) -> str:
    """Some lines."""
    return "\n".join(_lines(found))


def _lines(found: Findings) -> Iterator[str]:
    requests, latency = found["requests"], found["latency_ms"]
    between = found["per_s_95"]
    spread = f"  (95 %: {between[0]:,.1f} .. {between[1]:,.1f})" if between else ""
    yield f"{found['load']}, {found['seconds']:g} s"
    yield f"  answers/s   {found['per_s']:,.1f}{spread}"
    yield "  latency ms  " + "  ".join(f"{name} {latency[name]:.3f}" for name in ("mean", *SHARES, "max"))
    yield "  requests    " + "  ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in requests.items())
    for what, count in found["what"].items():
        yield f"    {count:,} x {what}"
    for doubt in found["generator"]["doubts"]:
        yield f"  DOUBT       {doubt}: the server may be better than this"
