"""One entry of the cache: a folder whose manifest says what it was made from and what its files hold.

The manifest is written last and every use checks all of it, so what was cut short, damaged or made by another runtime
is never used. Nothing is synced to the disk: a crash of the machine is found out like any other damage.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import xxhash

from executor.digests import checksum

Facts: TypeAlias = Mapping[str, str]
"""Everything that an entry depends on, by name."""

MANIFEST = "manifest.json"


def key(facts: Facts) -> str:
    """The entry's name."""
    return str(xxhash.xxh3_128_hexdigest(json.dumps(facts, sort_keys=True).encode()))


def complete(entry: Path, facts: Facts) -> None:
    """Write the manifest of the files that are there."""
    files = {path.name: checksum(path) for path in sorted(entry.iterdir())}
    (entry / MANIFEST).write_text(json.dumps({"facts": facts, "files": files}, indent=1))


def fault(entry: Path, facts: Facts) -> str | None:
    """Why this entry must not be used, None if it may. Reads all of it: 0.1 s for the entry of a 400 MB model."""
    try:
        manifest = json.loads((entry / MANIFEST).read_bytes())
        if manifest["facts"] != facts:
            return "it was made for something else"
        if {path.name for path in entry.iterdir()} != {*manifest["files"], MANIFEST}:
            return "files are missing or were added"
        for name, expected in manifest["files"].items():
            if checksum(entry / name) != expected:
                return f"{name} has changed"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"it cannot be read: {error}"
    return None


def touch(entry: Path) -> None:
    """It was used just now."""
    os.utime(entry / MANIFEST)


def last_used(entry: Path) -> float:
    """When, in seconds since the epoch; long ago if it is being made or deleted."""
    try:
        return (entry / MANIFEST).stat().st_mtime
    except OSError:
        return 0.0


def size(entry: Path) -> int:
    """Bytes of its files, as many as are still there."""
    try:
        return sum(path.stat().st_size for path in entry.iterdir())
    except OSError:
        return 0
