"""Why a request gets no handle, as the error that its client reads. Pure.

Receives the model's index rows from the manager. A version that is not there is ModelNotFound and names those that are;
one that is there and cannot serve now is ModelNotReady and says why.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.errors import ModelNotFound, ModelNotReady
from model_repo.index import IndexRow

SHOWN_CHARS = 100
VERSION_DIGITS = 18


def number(version: str) -> int | None:
    """The version that a request's text means, None if it means none: digits only, as in Triton's URLs."""
    return int(version) if version.isascii() and version.isdigit() and len(version) <= VERSION_DIGITS else None


def refusal(name: str, version: str, rows: Sequence[IndexRow]) -> ModelNotFound | ModelNotReady:
    """The error for a request that asked for `version` ("": any) of a model whose index rows are `rows`."""
    if not rows:
        return ModelNotFound(f"model {name[:SHOWN_CHARS]!r} is not found")
    wanted = number(version)
    if version and wanted is None:
        return ModelNotFound(f"model {name!r} has no version {version[:SHOWN_CHARS]!r}: a version is a number")
    there = [row.version for row in rows if row.version]
    if version and there and str(wanted) not in there:
        return ModelNotFound(f"model {name!r} has no version {wanted}; there is {', '.join(there)}")
    about = [row for row in rows if not version or row.version in ("", str(wanted))]
    return ModelNotReady(f"model {name!r} is not ready: {'; '.join(map(_sentence, about))}")


def _sentence(row: IndexRow) -> str:
    version = f"version {row.version} " if row.version else ""
    return f"{version}{row.state}{f' ({row.reason})' if row.reason else ''}"
