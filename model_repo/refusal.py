"""Why a request gets no handle, as the error that its client reads. Pure.

Receives the model's index rows from the manager. A version that is not there is ModelNotFound and names those that are;
one that is there and cannot serve now is ModelNotReady and says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headrace.errors import ModelNotFound, ModelNotReady
from headrace.traffic import LABEL
from model_repo.index import IndexRow

SHOWN_CHARS = 100
VERSION_DIGITS = 18
NO_LABELS: Mapping[str, int] = {}


def number(version: str) -> int | None:
    """The version that a request's text means, None if it means none: digits only, as in Triton's URLs."""
    return int(version) if version.isascii() and version.isdigit() and len(version) <= VERSION_DIGITS else None


def refusal(
    name: str, version: str, rows: Sequence[IndexRow], labels: Mapping[str, int] = NO_LABELS
) -> ModelNotFound | ModelNotReady:
    """The error for a request that asked for `version` ("": any) of a model whose index rows are `rows`."""
    if not rows:
        return ModelNotFound(f"model {name[:SHOWN_CHARS]!r} is not found")
    there = [row.version for row in rows if row.version]
    wanted = labels.get(version, number(version))
    if version and version not in labels and not _may_be(version, there):
        shown = repr(version[:SHOWN_CHARS]) if wanted is None else wanted
        found = f"; there is {', '.join((*there, *labels))}" if there else ": a version is a number or a label"
        return ModelNotFound(f"model {name!r} has no version {shown}{found}")
    about = [_sentence(row) for row in rows if not version or row.version in ("", str(wanted))]
    if version in labels:
        about.insert(0, f"label {version!r} names version {wanted}")
    return ModelNotReady(f"model {name!r} is not ready: {'; '.join(about)}")


def _may_be(version: str, there: Sequence[str]) -> bool:
    """Whether it is one of those that are there. Of a model that was not read nobody knows the versions and labels."""
    if there:
        return str(number(version)) in there
    return number(version) is not None or LABEL.fullmatch(version) is not None


def _sentence(row: IndexRow) -> str:
    version = f"version {row.version} " if row.version else ""
    return f"{version}{row.state}{f' ({row.reason})' if row.reason else ''}"
