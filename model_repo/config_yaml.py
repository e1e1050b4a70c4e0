"""Our own configuration file: `config.yaml` beside the version folders -> `ModelConfig`.

Receives the file's text from `scan`, hands back the checked configuration. An empty file is the default configuration;
an unknown key is an error that names the key and the nearest known one.
"""

from __future__ import annotations

from typing import Any

import yaml

from headrace.config import ModelConfig
from headrace.errors import RepositoryError
from headrace.parsing import parse as check


def parse(text: str, where: str) -> ModelConfig:
    """Read `text`. `where` starts the error message. Raises RepositoryError or ConfigError, both naming `where`."""
    try:
        # Not CSafeLoader, though five times as fast: nested deeply enough, a file makes it end the process (SIGSEGV).
        values = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = f": line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise RepositoryError(f"{where}{line}: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date that is none; nested without end
        raise RepositoryError(f"{where}: not YAML: {error}") from None
    if values is None:
        return ModelConfig()
    if not isinstance(values, dict):
        raise RepositoryError(f"{where}: expected keys and values, found {type(values).__name__}")
    return check(ModelConfig, {str(key): _with_texts(value) for key, value in values.items()}, where)


def _with_texts(value: Any) -> Any:
    """YAML reads a version number that is a key as a number. One level deep: aliases may make a mapping endless."""
    if not isinstance(value, dict):
        return value
    return {str(key) if type(key) is int else key: inner for key, inner in value.items()}
