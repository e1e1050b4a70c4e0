"""The command line: `headrace serve DIR ...`. Parses, checks, says what is wrong in one sentence, hands over.

Exit codes: 2 for wrong usage or configuration; else those of `server.pool.exit_codes`.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import headrace
from headrace.config import ServerConfig
from headrace.errors import ConfigError, ServingError
from server import logs
from server.options import ENVIRONMENT, merge, with_options
from server.pool.supervisor import run_pool
from server.welcome import welcome

USAGE = 2

PACKAGES = ("headrace", "batcher", "executor", "model_repo", "server", "loadtest")

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Headrace serves ONNX models over REST and gRPC.",
)


def main() -> None:
    """Entry point of the console script."""
    app()


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
    directories: Annotated[list[Path] | None, typer.Argument(metavar="DIR...", help="Model repositories.")] = None,
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
        _one_place()
        settings = merge(given, config)
        _something_to_serve(settings)
        _runtime()
        code = _run(settings)
    except ServingError as error:
        typer.echo(f"headrace: {error}", err=True)
        sys.exit(USAGE)
    sys.exit(code)


def _run(settings: ServerConfig) -> int:
    logs.set_up(settings.log_format, settings.log_level, "supervisor")
    return run_pool(settings, on_ready=lambda http, grpc: typer.echo(welcome(settings, http, grpc)))


def _something_to_serve(settings: ServerConfig) -> None:
    if not settings.model_repository:
        raise ConfigError("nothing to serve: name a model repository, `headrace serve DIR`")
    for repository in settings.model_repository:
        if not repository.is_dir():
            raise ConfigError(f"model repository {repository} is not a folder")
    if settings.load_model and settings.model_control_mode != "explicit":
        raise ConfigError(
            f"--load-model needs --model-control-mode explicit; the mode is {settings.model_control_mode!r}"
        )


def _runtime() -> None:
    """Say at once, and once, if ONNX Runtime is not installed."""
    if importlib.util.find_spec("onnxruntime") is None:
        importlib.import_module("executor.runtime")  # raises ConfigError with what to install


def _one_place() -> None:
    """The packages have plain names; another project's `server` on the path must not be taken for ours."""
    places = {}
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        places[package] = Path(spec.origin).parent.parent if spec and spec.origin else None
    strangers = {name: place for name, place in places.items() if place != places["headrace"]}
    if strangers:
        found = ", ".join(f"{name} from {place}" for name, place in strangers.items())
        raise ConfigError(f"the packages of Headrace must come from one place, {places['headrace']}; found {found}")
