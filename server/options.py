"""Server options from three places, with one precedence: flag > environment > file > default.

The flags are made from the fields of `ServerConfig`, so help, environment and file can never disagree with it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_origin

import typer
import yaml

from headrace.config import ServerConfig, parse
from headrace.errors import ConfigError

ENVIRONMENT = "HEADRACE_"


def options() -> list[inspect.Parameter]:
    """One keyword parameter per field, as typer reads them: `--http-port`, `HEADRACE_HTTP_PORT`, help, default."""
    parameters = []
    for name, field in ServerConfig.model_fields.items():
        option = typer.Option(
            f"--{name.replace('_', '-')}",
            help=field.description,
            envvar=f"{ENVIRONMENT}{name.upper()}",
            show_default=str(field.default) if field.default != () else False,
        )
        kind: Any = list[str] if get_origin(field.annotation) is tuple else str
        parameters.append(
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
            )
        )
    return parameters


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the `**given` of a typer command by the options."""
    signature = inspect.signature(command, eval_str=True)
    kept = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    parameters = [*kept, *options()]
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def merge(given: dict[str, Any], file: Path | None) -> ServerConfig:
    """What was given by flag or environment (None: not given) over what the file says. Raises ConfigError."""
    values: dict[str, Any] = {}
    if file is not None:
        values = _read(file)
        parse(ServerConfig, values, f"configuration file {file}")
    values |= {name: value for name, value in given.items() if value not in (None, [], ())}
    return parse(ServerConfig, values, "flags and environment" if file is None else f"flags, environment and {file}")


def _read(file: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"configuration file {file} cannot be read: {error}") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(f"configuration file {file} must be a mapping of options, found {type(document).__name__}")
    return document
