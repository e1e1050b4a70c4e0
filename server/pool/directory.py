"""The pool's private directory: in memory where the system offers that, and gone when the pool is.

Removed by the supervisor when it ends, by its orphans (death_pipe.py) if it cannot.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SHARED_MEMORY = Path("/dev/shm")


def board_in(directory: Path) -> Path:
    """Where the pool's board is."""
    return directory / "board"


def activity_in(directory: Path) -> Path:
    """Where replicas say what they run."""
    return directory / "activity"


def counters_in(directory: Path) -> Path:
    """Where the replicas keep their counters."""
    return directory / "counters"


def engine_in(directory: Path, name: str) -> Path:
    """Where the engine of this name listens. A name may be long, the path of a socket has at most 107 bytes."""
    return directory / f"engine-{hashlib.blake2s(name.encode(), digest_size=6).hexdigest()}"


def models_in(directory: Path) -> Path:
    """Where models are put that come with load requests: never in memory, which they would fill twice."""
    return directory / "models"


@contextmanager
def private_directory() -> Iterator[Path]:
    """A new directory that only this user may read, with empty folders for the counters and for models."""
    in_memory = _SHARED_MEMORY.is_dir() and os.access(_SHARED_MEMORY, os.W_OK)
    directory = Path(tempfile.mkdtemp(prefix="headrace-", dir=_SHARED_MEMORY if in_memory else None))
    try:
        counters_in(directory).mkdir()
        models_in(directory).symlink_to(tempfile.mkdtemp(prefix="headrace-models-"))
        yield directory
    finally:
        remove(directory)


def remove(directory: Path) -> None:
    """Remove all of it, as far as that is possible."""
    shutil.rmtree(models_in(directory).resolve(), ignore_errors=True)
    shutil.rmtree(directory, ignore_errors=True)
