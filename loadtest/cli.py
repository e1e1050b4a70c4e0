"""`headrace loadtest URL`: parses, checks, runs, reports. One sentence and exit code 2 for what cannot be run.

Exit codes: 0; 1 if an answer was wrong or a request failed; 2 for wrong usage or a server that is not there.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Sequence
from itertools import chain, zip_longest
from pathlib import Path
from time import monotonic, process_time
from typing import Annotated, NoReturn
from urllib.parse import urlsplit

import typer
import uvloop

from loadtest import inputs, rhythms, text
from loadtest.answers import Check, Tolerance
from loadtest.attack import Attack, Course, Where
from loadtest.findings import Findings, findings
from loadtest.shot import Shot, Shots, http_post
from loadtest.target import Target, TargetError, Tensor
from loadtest.tensors import encode

USAGE, FAILED = 2, 1

Url = Annotated[str, typer.Argument(metavar="URL", help="The server, as http://host:8000.")]
Models = Annotated[
    list[str], typer.Option("--model", "-m", metavar="NAME[/VERSION]", help="Models to ask; all that are ready.")
]
Rate = Annotated[float, typer.Option("--rate", min=0, help="Requests/s at given times, whatever is answered.")]
Rhythm = Annotated[str, typer.Option("--rhythm", help="Of --rate: poisson, constant, bursts.")]
Concurrency = Annotated[int, typer.Option("--concurrency", "-c", min=1, help="Connections of a closed loop.")]
Seconds = Annotated[float, typer.Option("--duration", "-d", min=0.1, metavar="SECONDS")]
WarmUp = Annotated[float, typer.Option("--warm-up", min=0, metavar="SECONDS", help="Not counted.")]
Timeout = Annotated[float, typer.Option("--timeout", min=0.001, metavar="SECONDS", help="For one request.")]
ShapeOf = Annotated[list[str], typer.Option("--shape", metavar="INPUT=8..64", help="Lengths of free axes.")]
Rows = Annotated[int, typer.Option("--rows", min=1, help="Length of a free first axis.")]
Distinct = Annotated[int, typer.Option("--distinct", min=1, help="Different inputs per model.")]
Json = Annotated[bool, typer.Option("--json-tensors", help="Tensors as JSON, not binary.")]
CheckIt = Annotated[bool, typer.Option("--check", help="Answers to the same input must be the same.")]
Seed = Annotated[int, typer.Option("--seed")]
Out = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the findings as JSON.")]


def loadtest(
    url: Url,
    model: Models = [],  # noqa: B006 - typer's way to say none
    rate: Rate = 0.0,
    rhythm: Rhythm = "poisson",
    concurrency: Concurrency = 8,
    duration: Seconds = 10.0,
    warm_up: WarmUp = 1.0,
    timeout: Timeout = 10.0,
    shape: ShapeOf = [],  # noqa: B006
    rows: Rows = 1,
    distinct: Distinct = 16,
    json_tensors: Json = False,
    check: CheckIt = False,
    seed: Seed = 1,
    out: Out = None,
) -> None:
    """Send requests to a V2 server, and report what became of them."""
    try:
        with Target(url) as target:
            shots = _shots(target, model, shape, rows, distinct, seed, binary=not json_tensors, check=check)
            where = _where(target.url)
        times = _times(rate, rhythm, seed) if rate else None
    except (TargetError, ValueError) as error:
        _fail(str(error))
    load = f"{rate:g}/s {rhythm}" if rate else f"{concurrency} connections, closed loop"
    course = Course(max(concurrency, 512) if rate else concurrency, warm_up, duration, timeout)
    try:
        found = _run(Attack(where, shots, course, times), load, duration, at_times=times is not None)
    except OSError as error:
        _fail(f"{url} cannot be reached: {error.strerror or error}")
    typer.echo(text.report(found))
    if out is not None:
        out.write_text(json.dumps(found, indent=1) + "\n")
    if found["requests"]["ok"] < found["requests"]["sent"]:
        raise typer.Exit(FAILED)


def _run(attack: Attack, load: str, seconds: float, *, at_times: bool) -> Findings:
    began, cpu = monotonic(), process_time()
    tally = uvloop.run(attack.run())
    busy = (process_time() - cpu) / (monotonic() - began)
    return findings(tally, load, seconds, busy, bound=at_times)


def _shots(
    target: Target,
    names: list[str],
    shape: list[str],
    rows: int,
    distinct: int,
    seed: int,
    *,
    binary: bool,
    check: bool,
) -> Shots:
    shapes = dict(inputs.parse_shape(each) for each in shape)
    host = urlsplit(target.url).netloc
    by_model: list[Shots] = []
    for name in names or target.models():
        model = target.model(name)
        mine = {each: lengths for each, lengths in shapes.items() if len(names) == 1 or _has(model.inputs, each)}
        made = inputs.made(model, mine, rows, distinct, seed)
        by_model.append(
            [
                Shot(
                    name,
                    http_post(model.path, host, *encode(each, binary=binary)),
                    Check(Tolerance()) if check else None,
                )
                for each in made
            ]
        )
    if not by_model:
        raise TargetError(f"{target.url} has no model that is ready")
    return [shot for shot in chain.from_iterable(zip_longest(*by_model)) if shot is not None]


def _has(tensors: Sequence[Tensor], name: str) -> bool:
    return any(tensor.name == name for tensor in tensors)


def _times(rate: float, rhythm: str, seed: int) -> rhythms.Times:
    if rhythm == "constant":
        return rhythms.constant(rate)
    if rhythm == "poisson":
        return rhythms.poisson(rate, seed)
    if rhythm == "bursts":
        return rhythms.bursts(rate, seed)
    raise ValueError(f"--rhythm {rhythm}: expected poisson, constant or bursts")


def _where(url: str) -> Where:
    parts = urlsplit(url)
    tls = ssl.create_default_context() if parts.scheme == "https" else None
    return Where(parts.hostname or "localhost", parts.port or (443 if tls else 80), tls)


def _fail(sentence: str) -> NoReturn:
    typer.echo(sentence, err=True)
    raise typer.Exit(USAGE)
