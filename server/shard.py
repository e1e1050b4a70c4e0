"""The command line of sharding: `headrace shard plan`, how a model would be cut for which devices, before it is served.

Parses, prints a table, JSON or a drawing; `executor.sharding` knows the rest. Exit codes: 1 the model does not fit or
cannot be read, 2 wrong usage.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from executor.sharding.devices import NO_LIMIT, wish_for
from executor.sharding.picture import mermaid, svg
from executor.sharding.planning import Plan, make_plan
from executor.sharding.profile import profile
from executor.sharding.shapes import FREE
from executor.sharding.source import read_source
from headrace.config import ModelConfig
from headrace.errors import ConfigError, ServingError
from headrace.parsing import parse
from headrace.sharding import Sharding, in_words, size
from model_repo import config_yaml
from server.tables import plain, short

FAILED, USAGE = 1, 2

app = typer.Typer(no_args_is_help=True, help="Models that are too large for one device.")


@app.callback()
def _main() -> None:
    """Options before the command."""


@app.command()
def plan(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="An ONNX file, or a model's folder in a repository.")],
    devices: Annotated[str, typer.Option(metavar="NAME,...", help="cuda:0,cuda:1 or cpu:0,cpu:1.")] = "",
    memory: Annotated[
        str,
        typer.Option(metavar="SIZE[,...]", help="What a stage may take of its device, as 8GiB; one or one for each."),
    ] = "",
    stages: Annotated[str, typer.Option(metavar="N|auto", help="auto: the fewest that fit.")] = "",
    rows: Annotated[int, typer.Option(min=0, help="Rows of a batch; 0: what the model's config says, else 8.")] = 0,
    free: Annotated[int, typer.Option(min=1, help="Size of free axes besides the first.")] = FREE,
    axis: Annotated[list[str] | None, typer.Option(metavar="NAME=N", help="Size of free axes of this name.")] = None,
    reserve: Annotated[str, typer.Option(metavar="SIZE", help="Of the memory, what the runtime needs itself.")] = "",
    measured: Annotated[
        bool, typer.Option("--profile", help="Measure the nodes on the CPU instead of estimating them.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    mermaid_file: Annotated[Path | None, typer.Option("--mermaid", metavar="FILE", help="Draw it for Mermaid.")] = None,
    svg_file: Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="Draw it.")] = None,
) -> None:
    """Where a model would be cut, and what each stage would take.

    What is not said is taken from `sharding` in the config.yaml of a model's folder.
    """
    said = {
        **({"devices": tuple(name.strip() for name in devices.split(","))} if devices else {}),
        **({"memory_limit": tuple(memory.split(",")) if "," in memory else memory} if memory else {}),
        **({"stages": int(stages) if stages.isdecimal() else stages} if stages else {}),
        **({"micro_batch_rows": rows} if rows else {}),
    }
    try:
        file, configured = _found(model)
        sharding = parse(Sharding, {**configured, **said}, "", _flag)
        wish = wish_for(
            sharding, free=free, axes=dict(map(_axis, axis or ())), reserve_bytes=_size(reserve) if reserve else None
        )
    except ServingError as error:
        _fail(str(error), USAGE)
    try:
        source = read_source(file)
    except ServingError as error:
        _fail(str(error), FAILED)
    try:
        found = make_plan(source, wish, profile(source, wish.sizes) if measured else None)
    except ServingError as error:
        _fail(f"{source.name}: {error}", FAILED)
    for path, drawn in ((mermaid_file, mermaid), (svg_file, svg)):
        if path is not None:
            _write(path, drawn(found))
    if as_json:
        typer.echo(json.dumps(_document(found)))
    else:
        _show(found, Console())


def _found(model: Path) -> tuple[Path, dict[str, Any]]:
    """(file, what its configuration says of sharding)."""
    if not model.is_dir():
        return model, {}
    versions = [each for each in model.iterdir() if each.name.isdecimal() and (each / "model.onnx").exists()]
    if not versions:
        raise ConfigError(f"{model}: expected a model's folder, with VERSION/model.onnx in it")
    file = model / "config.yaml"
    config = config_yaml.parse(file.read_text(), str(file)) if file.exists() else ModelConfig()
    said = config.sharding.model_dump(exclude_unset=True) if config.sharding else {}
    return max(versions, key=lambda each: int(each.name)) / "model.onnx", said


_FLAGS = {"memory_limit": "--memory", "micro_batch_rows": "--rows"}


def _flag(key: str) -> str:
    return _FLAGS.get(key.partition(".")[0], f"--{key.partition('.')[0]}")


def _axis(text: str) -> tuple[str, int]:
    name, _, number = text.rpartition("=")
    if not name or not number.isdecimal() or not int(number):
        raise ConfigError(f"--axis: expected NAME=N, found {text!r}")
    return name, int(number)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        _fail(f"{path} cannot be written: {error.strerror}", USAGE)


def _size(text: str) -> int:
    try:
        return size(text)
    except ValueError as error:
        raise ConfigError(f"--reserve: {error}") from None


def _show(found: Plan, console: Console) -> None:
    def say(sentence: str) -> None:
        console.print(sentence, highlight=False, soft_wrap=True, markup=False)

    say(
        f"{found.model} in {len(found.stages)} stage{'s' if len(found.stages) > 1 else ''}, of {found.units} units; for"
        f" batches of {found.sizes.rows} rows, {'measured on the CPU' if found.measured else 'estimated'};"
        f" balance (mean by slowest) {found.balance:.2f}"
    )
    console.print(_table(found))
    for at, stage in enumerate(found.stages):
        if at and at - 1 not in stage.after:
            needs = " and ".join(map(str, stage.after)) or "the request"
            say(f"stage {at} needs {needs} only: it may run beside those between")
    for name, each in found.copied.items():
        say(f"weight {name} ({in_words(each)}) is in more than one stage")
    if found.guessed:
        say(f"the sizes of {len(found.guessed)} values are guesses, {found.guessed[0]!r} among them")


def _table(found: Plan) -> Table:
    table = plain()
    table.add_column("stage", no_wrap=True)
    for column in ("nodes", "weights", "peak", "limit", "ms", "link ms", "takes", "cut"):
        table.add_column(column, justify="right", no_wrap=True)
    for at, stage in enumerate(found.stages):
        table.add_row(
            f"{at} {stage.device}",
            str(len(stage.ends.nodes)),
            in_words(stage.weight_bytes),
            in_words(stage.peak_bytes),
            "none" if stage.limit_bytes >= NO_LIMIT else in_words(stage.limit_bytes),
            short(stage.seconds * 1e3),
            short(stage.link_s * 1e3),
            in_words(sum(stage.comes.values())),
            in_words(stage.cut_bytes) if stage.cut_bytes else "",
        )
    return table


def _document(found: Plan) -> dict[str, Any]:
    document = asdict(found)
    for stage, written in zip(found.stages, document["stages"], strict=True):
        written |= {**written.pop("ends"), "after": stage.after, "seconds": stage.seconds}
        written["limit_bytes"] = None if stage.limit_bytes >= NO_LIMIT else stage.limit_bytes
        written["comes"] = {"request" if source < 0 else str(source): moved for source, moved in stage.comes.items()}
    return {**document, "balance": found.balance}


def _fail(sentence: str, code: int) -> NoReturn:
    typer.echo(f"headrace: {sentence}", err=True)
    sys.exit(code)
