"""`headrace loadtest URL`: parses, checks, runs, reports. One sentence and exit code 2 for what cannot be run.

Exit codes: 0; 1 if a request has no right answer or an assertion does not hold; 2 for wrong usage, a server that is not
there, or a generator that was itself the limit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NoReturn

import typer

from headrace.errors import ConfigError
from loadtest import answers, campaign, comparison, criteria, jobs, mixture, options, text
from loadtest.answers import Tolerance
from loadtest.attack import Course
from loadtest.findings import SCHEMA, Findings
from loadtest.inputs import parse_shape
from loadtest.jobs import What
from loadtest.junit import junit as as_junit
from loadtest.live import Live
from loadtest.load import Load
from loadtest.page import page
from loadtest.raw import bodies
from loadtest.shots import Wish
from loadtest.target import TargetError
from loadtest.where import parse, parse_header
from loadtest.workers import Job

USAGE, FAILED = 2, 1
EVERY_ANSWER = criteria.parse("errors==0")
"""What must hold if nothing is said. A search has its own criteria, which do not hold at its upper end."""
FIRST_RATE = "50"
"""Of the search for the highest."""


def loadtest(
    urls: options.Url,
    model: options.Models = None,
    rate: options.Rate = "",
    rhythm: options.RhythmOf = "poisson",
    concurrency: options.Concurrency = 8,
    sweep: options.Sweep = "",
    find_max: options.FindMax = "",
    duration: options.Seconds = 10.0,
    warm_up: options.WarmUp = 1.0,
    stable: options.Stable = "",
    window: options.Window = 1.0,
    timeout: options.Timeout = 10.0,
    shape: options.ShapeOf = None,
    rows: options.Rows = 1,
    distinct: options.Distinct = None,
    input_: options.Inputs = None,
    json_tensors: options.Json = False,
    protocol: options.Protocol = "v2",
    body: options.Bodies = None,
    header: options.HeaderOf = None,
    gzip: options.Gzip = False,
    stream: options.Stream = False,
    check: options.CheckIt = None,
    rtol: options.Relative = answers.RELATIVE,
    atol: options.Absolute = answers.ABSOLUTE,
    versus: options.Versus = "",
    rounds: options.Rounds = 6,
    metrics: options.Metrics = "",
    assert_: options.Assert = None,
    workers: options.Workers = 1,
    seed: options.Seed = 1,
    out: options.Out = None,
    html: options.Html = None,
    junit: options.Junit = None,
) -> None:
    """Send requests to a server, and report what became of them."""
    if urls[0] == "compare":
        _compare_files(urls[1:])
        return
    if len(urls) > 1:
        _fail(f"expected one URL, found {len(urls)}: --versus compares two servers")
    (url,) = urls
    try:
        wanted = [criterion for each in assert_ or () for criterion in criteria.parse(each)]
        limits = criteria.parse(find_max) if find_max else []
        counts = jobs.counts(sweep) if sweep else []
        weights = mixture.parse(model or ())
        files, expected = jobs.files("--input", input_ or (), weights), jobs.files("--check", check or (), weights)
        tolerance = Tolerance(atol, rtol) if check else None
        wish = Wish(dict(map(parse_shape, shape or ())), rows, distinct, seed, tolerance, files, expected)
        load = jobs.load(rate or (FIRST_RATE if limits else ""), rhythm, concurrency, seed, duration)
        course = Course(warm_up, duration, timeout, window, jobs.precision(stable) if stable else 0.0)
        headers = tuple(map(parse_header, header or ()))
        places = [replace(parse(each), headers=headers, gzip=gzip, stream=stream) for each in (url, versus) if each]
        what = What(weights, wish, bodies(body or ()), protocol, binary=not json_tensors)
        if versus and metrics:
            raise ValueError("--metrics names one server's metrics, --versus asks two")
        with ExitStack() as stack:
            pairs = [(each, *jobs.ready(each, what, metrics, stack)) for each in places]
            runs = [
                partial(campaign.one, Job(where, shots, course), workers, observer=observer)
                for where, shots, observer in pairs
            ]
            found = _versus(runs[0], runs[1], load, rounds) if versus else _run(runs[0], load, duration, counts, limits)
    except (TargetError, ConfigError, ValueError) as error:
        _fail(str(error))
    except campaign.Unsound as error:
        _fail(f"{error}: nothing can be said of the server; try --workers 2 or another machine")
    except OSError as error:
        _fail(f"{' or '.join(each for each in (url, versus) if each)} cannot be reached: {error.strerror or error}")
    wanted = wanted or ([] if limits else EVERY_ANSWER)
    if out is not None:
        _write(out, json.dumps({"schema": SCHEMA, "url": url, "runs": found}, indent=1) + "\n")
    if html is not None:
        _write(html, page(url, found))
    if junit is not None:
        _write(junit, as_junit(url, found, wanted))
    for criterion in () if wanted is EVERY_ANSWER else wanted:
        for each in found:
            typer.echo(criterion.verdict(each))
    raise typer.Exit(0 if all(criterion.holds(each) for criterion in wanted for each in found) else FAILED)


def _write(file: Path, content: str) -> None:
    try:
        file.write_text(content)
    except OSError as error:
        _fail(f"{file} cannot be written: {error.strerror}")


def _compare_files(names: Sequence[str]) -> None:
    if len(names) != 2:
        _fail(f"compare: expected two files that --out has written, found {len(names)}")
    try:
        runs = [json.loads(Path(name).read_text())["runs"] for name in names]
        for name, each in zip(names, runs, strict=True):
            if len(each) != 1:
                raise ValueError(f"{name} has {len(each)} runs, a comparison is of one")
        _tell(comparison.compare(*(comparison.windows(each[0]) for each in runs)))
    except OSError as error:
        _fail(f"{error.filename} cannot be read: {error.strerror}")
    except (ValueError, KeyError, TypeError) as error:
        _fail(f"compare: {error}" if isinstance(error, ValueError) else "compare: this was not written by --out")


def _versus(first: campaign.Once, second: campaign.Once, load: Load, rounds: int) -> list[Findings]:
    found = campaign.versus(first, second, load, rounds)
    _tell(comparison.compare(*found))
    return [*found[0], *found[1]]


def _tell(ratios: Sequence[comparison.Ratio]) -> None:
    typer.echo(comparison.HEAD)
    for ratio in ratios:
        typer.echo(str(ratio))


def _run(
    once: partial[Findings], load: Load, seconds: float, counts: Sequence[int], limits: Sequence[criteria.Criterion]
) -> list[Findings]:
    def told(found: Findings) -> None:
        typer.echo(text.row(found))

    if limits:
        typer.echo(text.HEAD)
        best, found = campaign.find_max(once, load, limits, told)
        names = ", ".join(each.text for each in limits)
        typer.echo(f"\nthe highest rate with {names}: " + (f"{best:,.0f} requests/s" if best else "none"))
        return found
    if counts:
        typer.echo(text.HEAD)
        found = campaign.sweep(once, [replace(load, connections=count) for count in counts], told)
        typer.echo(f"\nthe knee: {campaign.knee(found)['load']}")
        return found
    with Live(str(load), seconds) as live:
        found = [once(load, watch=live.told)]
    typer.echo(text.report(found[0]))
    return found


def _fail(sentence: str) -> NoReturn:
    typer.echo(f"headrace loadtest: {sentence}", err=True)
    raise typer.Exit(USAGE)
