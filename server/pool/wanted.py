"""The wanted set on its way from the supervisor to the replicas: a file in the pool's private directory.

A file, because a thousand models are more than a line of the control channel holds, and because a replica that starts
later finds it there. It is replaced whole, so a reader sees the old or the new set.
"""

from __future__ import annotations

import pickle
from pathlib import Path

from model_repo.found import Scan

_NAME = "wanted"


def write(directory: Path, scan: Scan) -> None:
    """From now on this is what is wanted."""
    fresh = directory / f"{_NAME}.new"
    fresh.write_bytes(pickle.dumps(scan))  # only this user can write here: what comes out is what went in
    fresh.replace(directory / _NAME)


def read(directory: Path) -> Scan:
    """What is wanted now. Only after the supervisor has said that there is something."""
    scan: Scan = pickle.loads((directory / _NAME).read_bytes())
    return scan
