"""The folder for what can be made or fetched again. Pure: the environment is passed in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def cache_folder(configured: Path | None, environment: Mapping[str, str]) -> Path:
    """What is configured, else the user's own: `$XDG_CACHE_HOME/headrace` or `~/.cache/headrace`."""
    if configured is not None:
        return configured
    general = Path(environment.get("XDG_CACHE_HOME", ""))  # to be ignored unless absolute, says its specification
    if not general.is_absolute():
        general = Path(environment.get("HOME") or Path.home()) / ".cache"
    return general / "headrace"
