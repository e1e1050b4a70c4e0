"""The command line: `headrace serve DIR ...`. Parses, checks, says what is wrong in one sentence, hands over.

Exit codes: 2 for wrong usage or configuration; else those of `server.pool.exit_codes`.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import headrace
from headrace.cache import cache_folder
from headrace.config import ServerConfig
from headrace.errors import ServingError
from model_repo.remote.remotes import Remotes
from server import logs, preflight
from server.options import ENVIRONMENT, merge, misspelt, spelling, with_options
from server.pool.run import run_pool
from server.welcome import welcome

if TYPE_CHECKING:
    from model_repo.sources import Source

USAGE = 2

log = logging.getLogger("headrace.start")

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Headrace serves ONNX models over REST and gRPC.",
)


def main() -> None:
    """Run the command line."""
    (app if sys.argv[1:2] == ["serve"] else whole())()


@functools.cache
def whole() -> typer.Typer:
    """With the commands that `serve` starts without, which are found by name."""
    for entry in entry_points(group="headrace.commands"):
        found = entry.load()
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=entry.name)
        else:
            app.command(entry.name)(found)
    return app


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"headrace {headrace.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    """Options before the command."""


@app.command()
@with_options
def serve(
    context: typer.Context,
    directories: Annotated[
        list[str] | None,
        typer.Argument(metavar="DIR", help="Model repositories: folders or URLs of NAME/VERSION/model.onnx."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML file of the options below.", envvar=f"{ENVIRONMENT}CONFIG")
    ] = None,
    **given: Any,
) -> None:
    """Serve model repositories until SIGTERM."""
    if directories:
        source = context.get_parameter_source("model_repository")
        flagged = source is not None and source.name == "COMMANDLINE"
        given["model_repository"] = [*directories, *(given["model_repository"] if flagged else ())]
    try:
        settings = merge(given, config, spelling(context))
        preflight.check(settings)
        code = _run(settings)
    except ServingError as error:
        typer.echo(f"headrace: {error}", err=True)
        sys.exit(USAGE)
    sys.exit(code)


def _run(settings: ServerConfig) -> int:
    logs.set_up(settings.log_format, settings.log_level, "supervisor")
    for doubt in (*misspelt(os.environ), *preflight.doubts(settings)):
        log.warning("%s", doubt)
    cache = cache_folder(settings.cache_dir, os.environ)
    remotes = Remotes(settings.model_repository, cache, settings.repository_poll_s)
    # From here on there are only folders.
    local = settings.model_copy(update={"model_repository": remotes.folders})

    def source() -> Source:
        from model_repo import sources  # noqa: PLC0415 - numpy and more, and by now others import too

        return sources.source(settings.model_control_mode, remotes.folders, settings.load_model, remotes)

    return run_pool(local, source=source, on_ready=lambda http, grpc: typer.echo(welcome(local, http, grpc)))
