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

import typer

from headrace.errors import ConfigError
from headrace.traces import read_trace
from loadtest import campaign, comparison, criteria, rates, text
from loadtest.answers import Tolerance
from loadtest.attack import Course
from loadtest.findings import SCHEMA, Findings
from loadtest.inputs import parse_shape
from loadtest.live import Live
from loadtest.load import MOST_CONNECTIONS, Load, Rhythm
from loadtest.page import page
from loadtest.shots import Wish, shots_for
from loadtest.target import RestTarget, Target, TargetError
from loadtest.where import Where, parse
from loadtest.workers import Job

USAGE, FAILED = 2, 1
FIRST_RATE = "50"
"""Of the search for the highest."""
RHYTHMS: tuple[Rhythm, ...] = ("poisson", "constant", "bursts")

Url = Annotated[
    list[str],
    typer.Argument(
        metavar="URL | compare A.json B.json",
        help="The server: http://host:8000 or grpc://host:8001. Or two files that --out has written.",
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Option("--model", "-m", metavar="NAME[/VERSION]", help="Models to ask; all, if none is named."),
]
Rate = Annotated[
    str,
    typer.Option(
        "--rate",
        metavar="RATES",
        help="Requests/s, whatever is answered: 500, 100..1000 (a ramp), 100:10s,1000:5s,100 (steps), @FILE (times).",
    ),
]
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
Versus = Annotated[
    str,
    typer.Option("--versus", metavar="URL", help="A second server, asked in turns: which is faster?"),
]
Rounds = Annotated[int, typer.Option("--rounds", min=4, help="Runs of each with --versus.")]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Processes that send.")]
Seed = Annotated[int, typer.Option("--seed", help="Of inputs and times.")]
Out = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the findings as JSON.")]
Html = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page with charts.")]


def loadtest(
    what: Url,
    model: Models = None,
    rate: Rate = "",
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
    versus: Versus = "",
    rounds: Rounds = 6,
    assert_: Assert = None,
    workers: Workers = 1,
    seed: Seed = 1,
    out: Out = None,
    html: Html = None,
) -> None:
    """Send requests to a V2 server, and report what became of them."""
    if what[0] == "compare":
        _compare_files(what[1:])
        return
    if len(what) > 1:
        _fail(f"expected one URL, found {len(what)}: --versus compares two servers")
    (url,) = what
    try:
        wanted = [criterion for each in assert_ or () for criterion in criteria.parse(each)]
        limits = criteria.parse(find_max) if find_max else []
        counts = [_count(each) for each in sweep.split(",")] if sweep else []
        tolerance = Tolerance() if check else None
        wish = Wish(dict(map(parse_shape, shape or ())), rows, distinct, seed, tolerance)
        load = _load(rate or (FIRST_RATE if limits else ""), rhythm, concurrency, seed, duration)
        course = Course(warm_up, duration, timeout)
        jobs = [_job(each, model or (), wish, course, load, binary=not json_tensors) for each in (url, versus) if each]
        found = _versus(jobs[0], jobs[1], workers, rounds) if versus else _run(jobs[0], workers, counts, limits)
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


def _job(url: str, names: Sequence[str], wish: Wish, course: Course, load: Load, *, binary: bool) -> Job:
    where = parse(url)
    with _target(where, binary=binary) as target:
        return Job(where, shots_for(target, names, wish), course, load)


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


def _load(rate: str, rhythm: str, connections: int, seed: int, seconds: float) -> Load:
    known = next((each for each in RHYTHMS if each == rhythm), None)
    if known is None:
        raise ValueError(f"--rhythm {rhythm}: expected {', '.join(RHYTHMS)}")
    if not rate:
        return Load(connections)
    most = max(connections, MOST_CONNECTIONS)
    if rate.startswith("@"):
        trace = tuple(read_trace(Path(rate[1:]), "--rate"))
        return Load(most, (len(trace) - 1) / (trace[-1] - trace[0]), trace=trace)
    spells = rates.parse(rate, seconds)
    mean = rates.mean(spells, seconds)
    return Load(most, mean, known, seed, () if rates.is_steady(spells) else spells)


def _count(text: str) -> int:
    if not text.strip().isdigit() or not int(text):
        raise ValueError(f"--sweep: expected numbers of connections such as 1,2,4, found {text!r}")
    return int(text)


def _target(where: Where, *, binary: bool) -> Target:
    if where.scheme == "grpc":
        from loadtest.rpc import RpcTarget  # noqa: PLC0415 - a second of imports, which REST does without

        return RpcTarget(where.url)
    return RestTarget(where.url, binary=binary)


def _fail(sentence: str) -> NoReturn:
    typer.echo(f"headrace loadtest: {sentence}", err=True)
    raise typer.Exit(USAGE)
