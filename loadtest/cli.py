"""`headrace loadtest URL`: parses, checks, runs, reports. One sentence and exit code 2 for what cannot be run.

Exit codes: 0; 1 if a request has no right answer or an assertion does not hold; 2 for wrong usage, a server that is not
there, or a generator that was itself the limit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NoReturn
from urllib.parse import urlsplit

import typer

from loadtest import campaign, criteria, text
from loadtest.answers import Tolerance
from loadtest.attack import Course, Where
from loadtest.findings import SCHEMA, Findings
from loadtest.inputs import parse_shape
from loadtest.load import MOST_CONNECTIONS, Load, Rhythm
from loadtest.page import page
from loadtest.shots import Wish, shots_for
from loadtest.target import Target, TargetError
from loadtest.workers import Job

USAGE, FAILED = 2, 1
FIRST_RATE = 50.0
"""Of the search for the highest."""
RHYTHMS: tuple[Rhythm, ...] = ("poisson", "constant", "bursts")

Url = Annotated[str, typer.Argument(metavar="URL", help="The server, as http://host:8000.")]
Models = Annotated[
    list[str] | None,
    typer.Option("--model", "-m", metavar="NAME[/VERSION]", help="Models to ask; all, if none is named."),
]
Rate = Annotated[float, typer.Option("--rate", min=0, help="Requests/s at given times, whatever is answered.")]
RhythmOf = Annotated[str, typer.Option("--rhythm", help=f"Of --rate: {', '.join(RHYTHMS)}.")]
Concurrency = Annotated[int, typer.Option("--concurrency", "-c", min=1, help="Connections of a closed loop.")]
Sweep = Annotated[str, typer.Option("--sweep", metavar="1,2,4,8", help="A run for each so many connections.")]
FindMax = Annotated[
    str, typer.Option("--find-max", metavar="CRITERIA", help="The highest rate that holds, as p99<50ms,errors==0.")
]
Seconds = Annotated[float, typer.Option("--duration", "-d", min=0.1, metavar="SECONDS", help="Of each run.")]
WarmUp = Annotated[float, typer.Option("--warm-up", min=0, metavar="SECONDS", help="Before each run, not counted.")]
Timeout = Annotated[float, typer.Option("--timeout", min=0.001, metavar="SECONDS", help="For one request.")]
ShapeOf = Annotated[list[str] | None, typer.Option("--shape", metavar="INPUT=8..64", help="Lengths of free axes.")]
Rows = Annotated[int, typer.Option("--rows", min=1, help="Length of a free first axis.")]
Distinct = Annotated[int, typer.Option("--distinct", min=1, help="Different inputs per model.")]
Json = Annotated[bool, typer.Option("--json-tensors", help="Tensors as JSON, not binary.")]
CheckIt = Annotated[bool, typer.Option("--check", help="Answers to the same input must be the same.")]
Assert = Annotated[
    list[str] | None, typer.Option("--assert", metavar="CRITERIA", help="Exit with 1 if it does not hold: p99<20ms.")
]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Processes that send.")]
Seed = Annotated[int, typer.Option("--seed", help="Of inputs and times.")]
Out = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the findings as JSON.")]
Html = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page with charts.")]


def loadtest(
    url: Url,
    model: Models = None,
    rate: Rate = 0.0,
    rhythm: RhythmOf = "poisson",
    concurrency: Concurrency = 8,
    sweep: Sweep = "",
    find_max: FindMax = "",
    duration: Seconds = 10.0,
    warm_up: WarmUp = 1.0,
    timeout: Timeout = 10.0,
    shape: ShapeOf = None,
    rows: Rows = 1,
    distinct: Distinct = 16,
    json_tensors: Json = False,
    check: CheckIt = False,
    assert_: Assert = None,
    workers: Workers = 1,
    seed: Seed = 1,
    out: Out = None,
    html: Html = None,
) -> None:
    """Send requests to a V2 server, and report what became of them."""
    try:
        wanted = [criterion for each in assert_ or () for criterion in criteria.parse(each)]
        limits = criteria.parse(find_max) if find_max else []
        counts = [_count(each) for each in sweep.split(",")] if sweep else []
        wish = Wish(
            dict(map(parse_shape, shape or ())), rows, distinct, seed, not json_tensors, Tolerance() if check else None
        )
        load = _load(rate, rhythm, concurrency, seed, searches=bool(limits))
        with Target(url) as target:
            job = Job(
                _where(target.url), shots_for(target, model or (), wish), Course(warm_up, duration, timeout), load
            )
        found = _run(job, workers, counts, limits)
    except (TargetError, ValueError) as error:
        _fail(str(error))
    except campaign.Unsound as error:
        _fail(f"{error}: nothing can be said of the server; try --workers 2 or another machine")
    except OSError as error:
        _fail(f"{url} cannot be reached: {error.strerror or error}")
    if out is not None:
        out.write_text(json.dumps({"schema": SCHEMA, "url": url, "runs": found}, indent=1) + "\n")
    if html is not None:
        html.write_text(page(url, found))
    raise typer.Exit(_verdict(found, wanted, searched=bool(limits)))


def _run(job: Job, workers: int, counts: Sequence[int], limits: Sequence[criteria.Criterion]) -> list[Findings]:
    def told(found: Findings) -> None:
        typer.echo(text.row(found))

    if limits:
        typer.echo(text.HEAD)
        best, found = campaign.find_max(job, workers, limits, told)
        names = ", ".join(each.text for each in limits)
        typer.echo(f"\nthe highest rate with {names}: " + (f"{best:,.0f} requests/s" if best else "none"))
        return found
    if counts:
        typer.echo(text.HEAD)
        found = campaign.sweep(job, workers, [replace(job.load, connections=count) for count in counts], told)
        typer.echo(f"\nthe knee: {campaign.knee(found)['load']}")
        return found
    found = [campaign.one(job, workers)]
    typer.echo(text.report(found[0]))
    return found


def _verdict(found: Sequence[Findings], wanted: Sequence[criteria.Criterion], *, searched: bool) -> int:
    held = [criterion.holds(each) for criterion in wanted for each in found]
    for criterion in wanted:
        for each in found:
            typer.echo(criterion.verdict(each))
    if wanted or searched:  # whoever says what counts has said that the rest does not
        return 0 if all(held) else FAILED
    return FAILED if any(each["requests"]["ok"] < each["requests"]["sent"] for each in found) else 0


def _load(rate: float, rhythm: str, connections: int, seed: int, *, searches: bool) -> Load:
    known = next((each for each in RHYTHMS if each == rhythm), None)
    if known is None:
        raise ValueError(f"--rhythm {rhythm}: expected {', '.join(RHYTHMS)}")
    if searches and not rate:
        rate = FIRST_RATE
    return Load(max(connections, MOST_CONNECTIONS) if rate else connections, rate, known, seed)


def _count(text: str) -> int:
    if not text.strip().isdigit() or not int(text):
        raise ValueError(f"--sweep: expected numbers of connections such as 1,2,4, found {text!r}")
    return int(text)


def _where(url: str) -> Where:
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    return Where(parts.hostname or "localhost", parts.port or (443 if tls else 80), tls)


def _fail(sentence: str) -> NoReturn:
    typer.echo(f"headrace loadtest: {sentence}", err=True)
    raise typer.Exit(USAGE)
