"""`headrace tune MODEL`: serves a model with one setting after the other, measures each, prints a `config.yaml`.

Exit codes as those of `loadtest`: 1 if a request had no right answer, 2 for what cannot be run.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
import yaml

from headrace.cores import usable_cores
from headrace.errors import ConfigError
from loadtest import campaign, jobs, options
from loadtest.attack import Course
from loadtest.findings import Findings
from loadtest.inputs import parse_shape
from loadtest.load import Load
from loadtest.serving import NotServed, serving
from loadtest.settings import HEAD, Measured, Setting, applied, grid, medians, written
from loadtest.shots import Wish
from loadtest.target import TargetError
from loadtest.where import parse
from loadtest.workers import Job

FAILED, USAGE = 1, 2
Folder = Annotated[Path, typer.Argument(metavar="MODEL", help="The model's folder in a repository.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--try", metavar="REPLICASxINSTANCESxTHREADS", help="A setting, as 2x1x1; without any a grid."),
]
Rounds = Annotated[int, typer.Option("--rounds", min=1, help="Of all settings, forth and back; medians count.")]
Written = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the config.yaml there.")]


def tune(
    model: Folder,
    settings: Settings = None,
    concurrency: options.Concurrency = 32,
    duration: options.Seconds = 5.0,
    warm_up: options.WarmUp = 1.0,
    rounds: Rounds = 2,
    shape: options.ShapeOf = None,
    rows: options.Rows = 1,
    input_: options.Inputs = None,
    out: Written = None,
) -> None:
    """Find the replicas, instances and threads that serve a model best on this machine."""
    try:
        config = _config(model)
        tried = [_setting(each) for each in settings or ()] or grid(int(usable_cores()))
        wish = Wish(dict(map(parse_shape, shape or ())), rows, files=jobs.files("--input", input_ or (), ()))
        course = Course(warm_up, duration)
        typer.echo(HEAD)
        measured = []
        for number in range(rounds):
            for setting in tried if number % 2 == 0 else reversed(tried):
                measured.append(_measure(model, config, setting, wish, course, concurrency))
                typer.echo(str(measured[-1]))
    except (TargetError, ConfigError, ValueError) as error:
        _fail(str(error))
    except NotServed as error:
        _fail(f"{model.name} cannot be served: {error}")
    except _Bad as error:
        _fail(str(error), FAILED)
    text = written(config, medians(measured), f"{concurrency} connections, {duration:g} s, {rounds} times each")
    if out is not None:
        out.write_text(text)
    typer.echo(f"\n{text}", nl=False)


class _Bad(Exception):
    """A setting under which requests had no right answer: there is nothing to recommend."""


def _config(model: Path) -> dict[str, Any]:
    if not any(each.is_dir() and each.name.isdecimal() for each in (model.iterdir() if model.is_dir() else ())):
        raise ValueError(f"{model}: expected the folder of a model, with folders of its versions in it")
    if (model / "config.pbtxt").exists():
        raise ValueError(f"{model} has a config.pbtxt, and what is found is a config.yaml: only one may be there")
    file = model / "config.yaml"
    try:
        found = yaml.safe_load(file.read_text()) if file.exists() else {}
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from None
    if not isinstance(found or {}, dict):
        raise ValueError(f"{file}: expected keys and values")
    return found or {}


def _setting(text: str) -> Setting:
    numbers = text.split("x")
    if len(numbers) != 3 or not all(number.isdecimal() and int(number) for number in numbers):
        raise ValueError(f"--try {text}: expected REPLICASxINSTANCESxTHREADS, as 2x1x1")
    return Setting(*map(int, numbers))


def _measure(
    model: Path, config: dict[str, Any], setting: Setting, wish: Wish, course: Course, connections: int
) -> Measured:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        _lay(model, config, setting, Path(folder))
        where = parse(stack.enter_context(serving(Path(folder), setting.replicas)))
        shots, _ = jobs.ready(where, jobs.What({model.name: 1.0}, wish), "", stack)
        job = Job(where, shots, course)
        alone, many = (campaign.one(job, 1, Load(count)) for count in (1, connections))
        for found in (alone, many):
            _all_right(setting, found)
        return Measured(setting, many["per_s"], many["latency_ms"]["p99"], alone["latency_ms"]["mean"])


def _lay(model: Path, config: dict[str, Any], setting: Setting, folder: Path) -> None:
    """A repository with this model under this setting. The server follows no link out of it, but a hard one is none."""
    laid = folder / model.name
    shutil.copytree(model, laid, copy_function=_link, ignore=shutil.ignore_patterns("config.yaml"))
    (laid / "config.yaml").write_text(yaml.safe_dump(applied(config, setting)))


def _link(file: str, to: str) -> None:
    try:
        os.link(file, to, follow_symlinks=True)
    except OSError:  # another file system
        shutil.copy2(file, to)


def _all_right(setting: Setting, found: Findings) -> None:
    requests = found["requests"]
    if requests["ok"] < requests["sent"] or not requests["sent"]:
        what = ", ".join(f"{count} x {kind}" for kind, count in found["what"].items()) or "nothing was answered"
        raise _Bad(f"replicas x instances x threads {setting.text}: {what}")


def _fail(sentence: str, code: int = USAGE) -> NoReturn:
    typer.echo(f"headrace tune: {sentence}", err=True)
    raise typer.Exit(code)
