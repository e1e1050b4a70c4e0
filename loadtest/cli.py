"""`headrace loadtest URL`: parses, checks, runs, reports. One sentence and exit code 2 for what cannot be run.

Exit codes: 0; 1 if a request has no right answer or an assertion does not hold; 2 for wrong usage, a server that is not
there, or a generator that was itself the limit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
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
from loadtest.live import Live
from loadtest.page import page
from loadtest.raw import bodies
from loadtest.shots import Wish
from loadtest.target import TargetError
from loadtest.where import parse, parse_header
from loadtest.workers import Job

USAGE, FAILED = 2, 1
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
    assert_: options.Assert = None,
    workers: options.Workers = 1,
    seed: options.Seed = 1,
    out: options.Out = None,
    html: options.Html = None,
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
        course = Course(warm_up, duration, timeout)
        headers = tuple(map(parse_header, header or ()))
        places = [replace(parse(each), headers=headers, gzip=gzip, stream=stream) for each in (url, versus) if each]
        what = What(weights, wish, bodies(body or ()), protocol, binary=not json_tensors)
        asked = [Job(each, jobs.shots(each, what), course, load) for each in places]
        found = _versus(asked[0], asked[1], workers, rounds) if versus else _run(asked[0], workers, counts, limits)
    except (TargetError, ConfigError, ValueError) as error:
        _fail(str(error))
    except campaign.Unsound as error:
        _fail(f"{error}: nothing can be said of the server; try --workers 2 or another machine")
    except OSError as error:
        _fail(f"{' or '.join(each for each in (url, versus) if each)} cannot be reached: {error.strerror or error}")
    if out is not None:
        out.write_text(json.dumps({"schema": SCHEMA, "url": url, "runs": found}, indent=1) + "\n")
    if html is not None:
        html.write_text(page(url, found))
    raise typer.Exit(_verdict(found, wanted, searched=bool(limits)))


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


def _versus(first: Job, second: Job, workers: int, rounds: int) -> list[Findings]:
    found = campaign.versus(first, second, workers, rounds)
    _tell(comparison.compare(*found))
    return [*found[0], *found[1]]


def _tell(ratios: Sequence[comparison.Ratio]) -> None:
    typer.echo(comparison.HEAD)
    for ratio in ratios:
        typer.echo(str(ratio))


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
    with Live(str(job.load), job.course.seconds, min(workers, job.load.connections)) as live:
        found = [campaign.one(job, workers, live.told)]
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


def _fail(sentence: str) -> NoReturn:
    typer.echo(f"headrace loadtest: {sentence}", err=True)
    raise typer.Exit(USAGE)
