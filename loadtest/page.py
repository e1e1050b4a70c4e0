"""Findings as one HTML file that opens anywhere: no script, no network, light and dark.

Charts: latency by percentile, latency and rate over time, and of the server batch sizes and where its time goes; for
several runs throughput against latency with the knee.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from html import escape

from hdrh.histogram import HdrHistogram

from loadtest.campaign import knee
from loadtest.chart import Axis, Series, bar_chart, line_chart
from loadtest.findings import SHARES, Findings
from loadtest.observed import SPLIT
from loadtest.text import balanced, shares

NINES = [(1.0, "0 %"), (2.0, "50 %"), (10.0, "90 %"), (100.0, "99 %"), (1000.0, "99.9 %"), (10_000.0, "99.99 %")]
"""1 / (1 - share) on a logarithmic axis: each nine takes as much room."""
MOST_CURVES = 5

STYLE = """
:root { color-scheme: light dark; --ink: #1d2733; --pale: #5d6b7a; --line: #d8dee6; --page: #ffffff; --bad: #b3261e; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6ebf1; --pale: #9aa8b7; --line: #36414d; --page: #14191f; --bad: #ff8a80; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 2rem auto;
  max-width: 1360px; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin: 0; } p.about { color: var(--pale); margin: 0.2rem 0 1.5rem; }
p.doubt { color: var(--bad); }
table { border-collapse: collapse; margin: 0 0 2rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 0.25rem 0.8rem; border-bottom: 1px solid var(--line); }
th { color: var(--pale); font-weight: 500; } th:first-child, td:first-child { text-align: left; padding-left: 0; }
td.bad { color: var(--bad); font-weight: 600; }
th.text, td.text { text-align: left; }
figure { margin: 0; }
figcaption { color: var(--pale); font-size: 0.8rem; padding-left: 3.5rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 1.5rem;
  margin-bottom: 2rem; }
svg { width: 100%; height: auto; } svg text { font: 12px system-ui, sans-serif; fill: var(--pale); }
svg .title { font-size: 14px; font-weight: 600; fill: var(--ink); }
svg .grid { stroke: var(--line); } svg .end { text-anchor: end; } svg .middle { text-anchor: middle; }
svg .mark { fill: none; stroke: var(--ink); stroke-width: 2; }
"""


def page(url: str, found: Sequence[Findings]) -> str:
    """The whole file. At least one run."""
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
            f"<title>Load on {escape(url)}</title><style>{STYLE}</style></head><body>",
            f"<h1>Load on {escape(url)}</h1>",
            f'<p class="about">{len(found)} run{"s" * (len(found) != 1)} of {found[0]["seconds"]:g} s; latencies count'
            " from the time at which a request should have been sent</p>",
            *_table(found),
            *(
                f'<p class="doubt">{escape(each["load"])}: {escape(doubt)}; the server may be better than this</p>'
                for each in found
                for doubt in each["generator"]["doubts"]
            ),
            '<div class="charts">',
            *(f"<figure>{chart}</figure>" for chart in _charts(found) if chart),
            "</div>",
            *_errors(found),
            *_models(found),
            *_server(found),
            "</body></html>",
        )
    )


def _table(found: Sequence[Findings]) -> Iterator[str]:
    names = ("mean", *SHARES, "max")
    heads = "".join(f"<th>{escape(name)} ms</th>" for name in names)
    yield f"<table><thead><tr><th>load</th><th>answers/s</th>{heads}<th>sent</th><th>errors</th></tr></thead><tbody>"
    for each in found:
        requests = each["requests"]
        errors = requests["sent"] - requests["ok"]
        cells = "".join(f"<td>{each['latency_ms'][name]:,.3f}</td>" for name in names)
        bad = ' class="bad"' if errors else ""
        yield (
            f"<tr><td>{escape(each['load'])}</td><td>{each['per_s']:,.1f}</td>{cells}"
            f"<td>{requests['sent']:,}</td><td{bad}>{errors:,}</td></tr>"
        )
    yield "</tbody></table>"


def _models(found: Sequence[Findings]) -> Iterator[str]:
    if len(found) > 1 or len(found[0]["models"]) < 2:
        return
    names = ("mean", *SHARES, "max")
    heads = "".join(f"<th>{escape(name)} ms</th>" for name in names)
    yield f"<table><thead><tr><th>model</th><th>answers/s</th>{heads}<th>errors</th></tr></thead><tbody>"
    for name, model in found[0]["models"].items():
        cells = "".join(f"<td>{model['latency_ms'][each]:,.3f}</td>" for each in names)
        yield f"<tr><td>{escape(name)}</td><td>{model['per_s']:,.1f}</td>{cells}<td>{model['bad']:,}</td></tr>"
    yield "</tbody></table>"


def _server(found: Sequence[Findings]) -> Iterator[str]:
    """Where the time goes in the server, which batches it forms, who does it."""
    rows = [(each, *item) for each in found for item in each["server"].get("models", {}).items()]
    if rows:
        heads = "".join(f"<th>{part} ms</th>" for part in ("total", *SPLIT))
        head = f'<th>load</th><th class="text">in the server</th><th>requests</th>{heads}<th>rows/batch</th>'
        yield f"<table><thead><tr>{head}</tr></thead><tbody>"
        for each, name, model in rows:
            cells = "".join(f"<td>{model[f'{part}_ms']:,.3f}</td>" for part in ("total", *SPLIT))
            about = f'<td>{escape(each["load"])}</td><td class="text">{escape(name)}</td><td>{model["requests"]:,}</td>'
            yield f"<tr>{about}{cells}<td>{model['rows_per_batch']:g}</td></tr>"
        yield "</tbody></table>"
    balances = [(each["load"], each["server"]["replicas"]) for each in found if balanced(each["server"])]
    if balances:
        yield '<table><thead><tr><th>load</th><th class="text">answered by replica</th></tr></thead><tbody>'
        for load, replicas in balances:
            yield f'<tr><td>{escape(load)}</td><td class="text">{shares(replicas)}</td></tr>'
        yield "</tbody></table>"


def _charts(found: Sequence[Findings]) -> Iterator[str]:
    if len(found) > 1:
        yield _throughput(found)
    shown = _some(found)
    yield line_chart(
        "Latency by percentile",
        Axis("share of the requests", log=True, ticks=NINES),
        Axis("ms"),
        [Series(each["load"], _percentiles(each["histogram"])) for each in shown if each["requests"]["ok"]],
    )
    if len(found) == 1:
        windows = [window for window in found[0]["windows"] if window["end_s"] <= found[0]["seconds"] + 1e-9]
        seconds = Axis("seconds")
        yield line_chart(
            "Latency over time",
            seconds,
            Axis("ms"),
            [Series(name, [(each["end_s"], each[f"{name}_ms"]) for each in windows]) for name in ("p50", "p99")],
        )
        rates = [(each["end_s"], each["ok"] / (each["end_s"] - each["start_s"])) for each in windows]
        bad = [(each["end_s"], each["bad"] / (each["end_s"] - each["start_s"])) for each in windows]
        series = [Series("right", rates), *([Series("wrong or failed", bad)] if any(y for _, y in bad) else [])]
        yield line_chart("Answers over time", seconds, Axis("answers/s"), series)
        yield bar_chart("Batches by their rows", _batches(found[0]["server"]))
        yield bar_chart("Where the time in the server goes", _times(found[0]["server"]))


def _batches(server: Findings) -> dict[str, float]:
    """Shares over all models, by size."""
    counts: Counter[int] = Counter()
    for model in server.get("models", {}).values():
        counts.update({int(size): count for size, count in model["batches"].items()})
    return {str(size): count / counts.total() for size, count in sorted(counts.items())}


def _times(server: Findings) -> dict[str, float]:
    """Shares over all models, of what is told apart and of what is left."""
    models = server.get("models", {}).values()
    spent = {part: sum(model["requests"] * model[f"{part}_ms"] for model in models) for part in ("total", *SPLIT)}
    whole = max(spent.pop("total"), sum(spent.values()))
    if not whole:
        return {}
    return {name: ms / whole for name, ms in (*spent.items(), ("else", whole - sum(spent.values())))}


def _throughput(found: Sequence[Findings]) -> str:
    at = knee(found)
    return line_chart(
        "Throughput and latency",
        Axis("answers/s"),
        Axis("ms"),
        [Series(name, [(each["per_s"], each["latency_ms"][name]) for each in found]) for name in ("p50", "p99")],
        [((at["per_s"], at["latency_ms"]["p99"]), f"knee: {at['load']}")],
    )


def _some(found: Sequence[Findings]) -> Sequence[Findings]:
    """As many curves as can be told apart, the ends among them."""
    if len(found) <= MOST_CURVES:
        return found
    return [found[round(number * (len(found) - 1) / (MOST_CURVES - 1))] for number in range(MOST_CURVES)]


def _percentiles(encoded: str) -> list[tuple[float, float]]:
    histogram = HdrHistogram.decode(encoded)
    total, seen, points = histogram.get_total_count(), 0, []
    for each in histogram.get_recorded_iterator():
        seen += each.count_at_value_iterated_to
        points.append((1 / max(1 - (seen - 0.5) / total, 1e-9), each.value_iterated_to / 1e3))
    return points


def _errors(found: Sequence[Findings]) -> Iterator[str]:
    kinds = [(each["load"], what, count) for each in found for what, count in each["what"].items()]
    if kinds:
        head = '<th>what went wrong</th><th class="text">load</th><th>requests</th>'
        yield f"<table><thead><tr>{head}</tr></thead><tbody>"
        for load, what, count in kinds:
            yield f'<tr><td>{escape(what)}</td><td class="text">{escape(load)}</td><td>{count:,}</td></tr>'
        yield "</tbody></table>"
