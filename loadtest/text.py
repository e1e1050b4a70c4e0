"""Findings as text for a terminal or a log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from loadtest.findings import SHARES, Findings
from loadtest.observed import SPLIT

HEAD = f"{'load':34} {'answers/s':>11} {'mean':>9} {'p50':>9} {'p99':>9} {'p99.9':>9} ms {'errors':>8}"

MOST_SHARES = 6


def row(found: Findings) -> str:
    """One line, to go under `HEAD`."""
    latency, requests = found["latency_ms"], found["requests"]
    numbers = " ".join(f"{latency[name]:9.3f}" for name in ("mean", "p50", "p99", "p99.9"))
    doubt = "  DOUBT: the generator" if found["generator"]["doubts"] else ""
    return f"{found['load']:34} {found['per_s']:11,.1f} {numbers}    {requests['sent'] - requests['ok']:8,}{doubt}"


def report(found: Findings) -> str:
    """Some lines."""
    return "\n".join((*_lines(found), *_models(found), *_server(found["server"]), *_troubles(found)))


def _lines(found: Findings) -> Iterator[str]:
    yield f"{found['load']}, {found['seconds']:g} s"
    yield f"  answers/s   {found['per_s']:,.1f}"
    yield f"  latency ms  {_latencies(found)}"
    between = (("answers/s", "per_s_95"), ("mean", "mean_ms_95"), ("p99", "p99_ms_95"))
    spread = [f"{name} {_short(found[key][0])} .. {_short(found[key][1])}" for name, key in between if found[key]]
    if spread:
        yield "  95 %        " + "  ".join(spread)
    if found["settled"] is not None:
        word = "settled    " if found["settled"] else "NOT SETTLED"
        yield f"  {word} whether each of these reaches no further than {found['precision']:.3g} of its mean"
    requests = found["requests"].items()
    yield "  requests    " + "  ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in requests)


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _models(found: Findings) -> Iterator[str]:
    if len(found["models"]) > 1:
        for name, model in found["models"].items():
            yield f"  {name or '(never sent)'}"
            yield f"    answers/s {model['per_s']:,.1f}  bad {model['bad']:,}  ms: {_latencies(model)}"


def _server(server: Findings) -> Iterator[str]:
    for name, model in server.get("models", {}).items():
        parts = "  ".join(f"{part} {model[f'{part}_ms']:.3f}" for part in SPLIT)
        yield f"  in the server: {name}"
        yield f"    ms of {model['total_ms']:.3f}: {parts}"
        batches = f", batches of {shares(model['batches'])}" if model["batches"] else ""
        yield f"    rows/batch {model['rows_per_batch']:g}{batches}"
    if balanced(server):
        yield f"  replicas    {shares(server['replicas'])}"


def balanced(server: Findings) -> bool:
    """Whether there are replicas to compare."""
    replicas = server.get("replicas", {})
    return len(replicas) > 1 and sum(replicas.values()) > 0


def shares(counts: Mapping[str, float]) -> str:
    """The largest first."""
    whole, largest = sum(counts.values()), sorted(counts.items(), key=lambda item: -item[1])[:MOST_SHARES]
    more = ", ..." if len(counts) > MOST_SHARES else ""
    return ", ".join(f"{name}: {count / whole:.0%}" for name, count in largest) + more


def _troubles(found: Findings) -> Iterator[str]:
    for what, count in found["what"].items():
        yield f"    {count:,} x {what}"
    for doubt in found["generator"]["doubts"]:
        yield f"  DOUBT       {doubt}: the server may be better than this"


def _latencies(found: Findings) -> str:
    latency = found["latency_ms"]
    return "  ".join(f"{name} {latency[name]:.3f}" for name in ("mean", *SHARES, "max"))
