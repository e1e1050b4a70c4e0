"""The folder for what can be made or fetched again. The environment is passed in."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path


def cache_folder(configured: Path | None, environment: Mapping[str, str]) -> Path:
    """What is configured, else the user's own: `$XDG_CACHE_HOME/headrace` or `~/.cache/headrace`.

    Who has no home has it among the temporary files.
    """
    if configured is not None:
        return configured
    general = Path(environment.get("XDG_CACHE_HOME", ""))  # to be ignored unless absolute, says its specification
    if not general.is_absolute():
        home = environment.get("HOME")  # not there where a container runs as a user without a name
        general = Path(home) / ".cache" if home else Path(tempfile.gettempdir())
    return general / "headrace"
