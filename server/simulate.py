"""The command line before deploying: `headrace simulate`, what a load would cost on a model's measured curve.

Parses, asks a server for its curve or reads a file, prints a table; `batcher.what_if` knows the rest. Exit codes as
those of `models`: 1 the server refused, 2 no server answers, or wrong usage.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
import typer
from rich.console import Console

from batcher import known, loads
from batcher.decide import Limits
from batcher.known import Known, Recorded
from batcher.simulate import Load
from batcher.what_if import Row, capacity, offered, what_if
from headrace.errors import ConfigError, ServingError
from server.models import LOCAL, UNREACHABLE, ask
from server.shapes import LEAST_REQUESTS, SEED, Asked, Shape, factors, shape
from server.tables import forecasts

NEAR = 0.95
"""Share of the capacity past which latencies depend on luck."""


def simulate(
    model: Annotated[str, typer.Option(metavar="NAME", help="Model of a running server whose curve is taken.")] = "",
    url: Annotated[str, typer.Option(envvar="HEADRACE_URL", help="REST address of that server.")] = LOCAL,
    curve: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Instead: what `headrace models batcher NAME --json` printed.")
    ] = None,
    affine: Annotated[
        str, typer.Option(metavar="MS", help="Instead: milliseconds of a batch of b rows, such as '4+0.25b'.")
    ] = "",
    rate: Annotated[float | None, typer.Option(metavar="R", help="Requests per second, whatever is answered.")] = None,
    bursts: Annotated[
        float | None, typer.Option(metavar="D", help="They come in bursts: variance by mean of their numbers.")
    ] = None,
    on_off: Annotated[str, typer.Option(metavar="ON:OFF", help="They come for ON s, then nobody for OFF s.")] = "",
    sinusoid: Annotated[str, typer.Option(metavar="PERIOD[:RATIO]", help="Day and night in PERIOD s.")] = "",
    step: Annotated[str, typer.Option(metavar="AT:TIMES", help="TIMES as many after AT seconds.")] = "",
    clients: Annotated[int | None, typer.Option(metavar="N", help="Clients that ask again when answered.")] = None,
    think: Annotated[float, typer.Option(metavar="MS", help="Their mean think time (exponential).")] = 0.0,
    trace: Annotated[Path | None, typer.Option(metavar="FILE", help="Arrival times in seconds, one a line.")] = None,
    rows: Annotated[str, typer.Option(metavar="N,...", help="Rows of the requests, in turns.")] = "1",
    times: Annotated[str, typer.Option(metavar="X,...", help="How many times that traffic.")] = "1,2,4",
    replicas: Annotated[int, typer.Option(min=0, help="That share the load; 0: as many as the server has.")] = 0,
    max_batch_rows: Annotated[int, typer.Option(min=0, max=65536, help="Instead of the model's own.")] = 0,
    timeout: Annotated[
        float, typer.Option(min=0.0, metavar="MS", help="Each request has one: who would be late is refused.")
    ] = 0.0,
    slo_ms: Annotated[float, typer.Option(min=0.0, help="Also print the share of requests within it.")] = 0.0,
    requests: Annotated[int, typer.Option(min=0, help="Requests of each simulation; 0: 10,000 or more.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """What a load would cost on a model's measured curve: "if traffic doubles, p99 = ?".

    Without a load the requests that the server remembers are taken. Latencies count from arrival in the queue to the
    end of the batch.
    """
    asked = Asked(rate, bursts, on_off, sinusoid, step, clients, think, trace, rows, requests)
    try:
        form, multiples = shape(asked), factors(times)
        what, recorded = _known(model, url, curve, affine)
        limits = Limits(max_batch_rows or what.limits.max_batch_rows, what.limits.max_queue_delay_s)
        what = msgspec.structs.replace(what, limits=limits, slo_s=slo_ms / 1e3 or what.slo_s)
        words, load, count = _load(form, recorded, replicas or what.replicas, requests)
        if timeout:
            words, load = f"{words}, each with a timeout of {timeout:g} ms", replace(load, timeouts=(timeout / 1e3,))
        found = _run(what, load, multiples, count)
        _report(what, words, found, as_json, Console())
    except ServingError as error:
        typer.echo(f"headrace: {error}", err=True)
        sys.exit(UNREACHABLE)


def _known(model: str, url: str, curve: Path | None, affine: str) -> tuple[Known, Recorded | None]:
    sources = [name for name, given in (("--model", model), ("--curve", curve), ("--affine", affine)) if given]
    if len(sources) != 1:
        found = " and ".join(sources) or "none"
        raise ConfigError(f"expected one curve, by --model (of --url), --curve or --affine, found {found}")
    if affine:
        return known.affine(affine), None
    if curve is not None:
        try:
            return known.read(curve.read_bytes(), f"--curve {curve}")
        except OSError as error:
            raise ConfigError(f"--curve: {curve} cannot be read: {error.strerror}") from None
    answer = ask(url, f"/v2/models/{quote(model, safe='')}/batcher", {"recording": "true"})
    return known.read(answer.content, f"{url}, model {model}")


def _load(form: Shape | None, recorded: Recorded | None, replicas: int, requests: int) -> tuple[str, Load, int]:
    """(in words, what one replica gets of it, requests of the simulation)."""
    if form is not None:
        load = known.share(form.make(form.requests * replicas), replicas, SEED)
        beside = f", of which each of {replicas} replicas gets its share" if replicas > 1 else ""
        return form.words + beside, load, form.requests
    if recorded is None:
        raise ConfigError("expected a load, by --rate, --clients or --trace: nothing was recorded with this curve")
    if not recorded.load.opens and not recorded.load.clients:
        few = f"this replica remembers {recorded.count} requests, too few"
        raise ConfigError(f"expected a load, by --rate, --clients or --trace: {few}")
    count = requests or LEAST_REQUESTS
    return f"the last {recorded.count} requests of a replica, again and again", recorded.again(count), count


def _run(what: Known, load: Load, multiples: list[float], count: int) -> Iterator[tuple[float, Load, list[Row]]]:
    for multiple in multiples:
        scaled = loads.scaled(load, multiple)
        yield multiple, scaled, list(what_if(what, scaled, count))


def _report(
    what: Known, words: str, found: Iterator[tuple[float, Load, list[Row]]], as_json: bool, console: Console
) -> None:
    best = capacity(what)
    if as_json:
        document = {
            "model": what.model,
            "load": words,
            "capacity": msgspec.to_builtins(best),
            "loads": [_document(multiple, load, rows, best.rows_per_s) for multiple, load, rows in found],
        }
        typer.echo(json.dumps(document))
        return

    def say(sentence: str) -> None:
        console.print(sentence, highlight=False, soft_wrap=True, markup=False)

    say(f"{what.model or 'the model'} does at most {best} on one replica")
    if not what.trusted:
        say("its batches of one size take very different times: believe little of this")
    say(f"load: {words}")
    for multiple, load, rows in found:
        title = f"{multiple:g} times this traffic" if multiple != 1 else "this traffic"
        say(f"\n{title}, latencies in ms:")
        console.print(forecasts([_policy(row) for row in rows]))
        comes = offered(load)
        if comes > NEAR * best.rows_per_s:
            where = "above" if comes > best.rows_per_s else "close to"
            say(f"{where} the capacity: {comes:,.0f} rows/s come, the model does at most {best}")


def _document(multiple: float, load: Load, rows: list[Row], most: float) -> dict[str, Any]:
    comes = offered(load)
    return {
        "times": multiple,
        "rows_per_s": round(comes, 1) or None,
        "above_capacity": comes > most,
        "policies": [_policy(row) for row in rows],
    }


def _policy(row: Row) -> dict[str, Any]:
    """Latencies of who falls behind say nothing and are null."""
    said: dict[str, Any] = msgspec.to_builtins(row.forecast)
    if not row.keeps_up:
        said |= dict.fromkeys(("mean_ms", "p50_ms", "p99_ms", "within_slo"))
    return {"settings": row.settings, "keeps_up": row.keeps_up, **said}
