"""A look at the repositories from the event loop: a scan in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from model_repo.found import Scan
from model_repo.override import NONE, Override
from model_repo.scan import scan


async def look(
    repositories: Sequence[Path], names: Collection[str] | None = None, overrides: Mapping[str, Override] = NONE
) -> Scan:
    """As `scan`. Raises RepositoryError."""
    # The one thread outside executor/: a slow disk must not stop the event loop, and a scan shares nothing.
    return await asyncio.to_thread(scan, repositories, names, overrides)
