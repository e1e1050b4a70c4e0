"""Which keys of a listing become files of the copy, and where. Pure.

Receives whatever names a storage came up with; hands out paths `MODEL/...` relative to the copy. Invariants: 1. A path
has no empty, `.` or `..` segment, so joined to a folder it stays below it. 2. No path is the folder of another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

SEGMENT_BYTES = 200
"""File systems take 255; what is put behind a name here must fit too."""
PATH_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a key cannot be a file. `reason` "" for what a repository may well hold and does not need."""

    reason: str


NOT_NEEDED = Refusal("")
"""Folder markers, files beside the models, and hidden names: the scan passes them over too."""


def check(key: str) -> Refusal | None:
    """Why `key` is no path of a model's file; None if it is one."""
    segments = key.split("/")
    sizes = [len(segment.encode(errors="surrogatepass")) for segment in segments]
    is_folder = not segments[-1] and all(segments[:-1])
    reasons = {
        "has a NUL in it": "\0" in key,
        "has an empty part": not all(segments) and not is_folder,
        "has a part that is . or ..": bool({".", ".."} & set(segments)),
        "is no text": any("\ud800" <= letter <= "\udfff" for letter in key),
        "is too long": max(sizes) > SEGMENT_BYTES or sum(sizes) > PATH_BYTES,
    }
    for reason, applies in reasons.items():
        if applies:
            return Refusal(reason)
    is_needed = len(segments) > 1 and not is_folder and not any(segment.startswith(".") for segment in segments)
    return None if is_needed else NOT_NEEDED


def sort_out(keys: Iterable[str]) -> tuple[set[str], Mapping[str, str]]:
    """The keys that become files, and the others that somebody should hear about, with the reason."""
    good: set[str] = set()
    refused: dict[str, str] = {}
    for key in keys:
        refusal = check(key)
        if refusal is None:
            good.add(key)
        elif refusal.reason:
            refused[key] = refusal.reason
    both = {folder for key in good for folder in _above(key)} & good
    return good - both, refused | dict.fromkeys(both, "is a file and a folder at once")


def _above(key: str) -> Iterable[str]:
    while "/" in key:
        key = key.rpartition("/")[0]
        yield key
