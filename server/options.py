"""Server options from three places, with one precedence: flag > environment > file > default.

The flags are made from the fields of `ServerConfig`, so help, environment and file can never disagree with it.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
import yaml

from headrace.config import ServerConfig
from headrace.errors import ConfigError
from headrace.parsing import Spell, parse
from headrace.repositories import Url

ENVIRONMENT = "HEADRACE_"
ALSO = {"model_control_mode": "--control"}
"""Shorter flags, beside the ones that Triton has."""


def options() -> list[inspect.Parameter]:
    """One keyword parameter per field, as typer reads them: `--http-port`, `HEADRACE_HTTP_PORT`, help, default."""
    parameters = []
    for name, field in ServerConfig.model_fields.items():
        option = typer.Option(
            _flag(name),
            *([ALSO[name]] if name in ALSO else ()),
            help=field.description,
            metavar=f"<{_metavar(field.annotation)}>",
            envvar=_variable(name),
            show_default=str(field.default).lower() if field.default not in ((), None) else False,
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


def merge(given: dict[str, Any], file: Path | None, spell: Spell = repr) -> ServerConfig:
    """What was given by flag or environment (None: not given) over what the file says. Raises ConfigError."""
    values: dict[str, Any] = {}
    if file is not None:
        values = _read(file)
        parse(ServerConfig, values, f"configuration file {file}")
    said = {name: value for name, value in given.items() if value not in (None, [], ())}
    parse(ServerConfig, said, "", spell)
    return ServerConfig.model_validate(values | said)


def spelling(context: typer.Context) -> Spell:
    """Shows a key as the operator wrote it: `--http-port`, or `HEADRACE_HTTP_PORT` where the environment said it."""

    def spell(key: str) -> str:
        name = key.partition(".")[0]
        source = context.get_parameter_source(name)
        return _variable(name) if source is not None and source.name == "ENVIRONMENT" else _flag(name)

    return spell


def misspelt(environment: Iterable[str]) -> Iterator[str]:
    """A warning for each variable that looks like one of ours and is none, hence says nothing.

    Only a warning, and only where the name is close: in Kubernetes a service called `headrace` puts its own
    `HEADRACE_PORT` and `HEADRACE_SERVICE_HOST` there.
    """
    known = [_variable(name) for name in (*ServerConfig.model_fields, "config")]
    for name in environment:
        if name.startswith(ENVIRONMENT) and name not in known:
            for near in difflib.get_close_matches(name, known, n=1, cutoff=0.9):
                yield f"{name} in the environment is no option and is ignored; did you mean {near}?"


def _read(file: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(file.read_text())
    except OSError as error:
        raise ConfigError(f"configuration file {file} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"configuration file {file} cannot be read: {error}") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(f"configuration file {file} must be a mapping of options, found {type(document).__name__}")
    return document


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _variable(name: str) -> str:
    return f"{ENVIRONMENT}{name.upper()}"


def _metavar(annotation: Any) -> str:
    """What may stand behind the flag: a number, a path, text, or one of the words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return "|".join(map(str, arguments))
    if origin in (Annotated, tuple):
        return _metavar(arguments[0])
    if origin in (Union, UnionType):
        return "|".join(_metavar(each) for each in arguments if each is not NoneType)
    return {bool: "true|false", int: "number", float: "number", Path: "path", Url: "url"}.get(annotation, "text")
