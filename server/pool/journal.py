"""What has happened to the models and the replicas, for people who ask later: `GET /v2/events`.

Written by the supervisor, which decides, into the pool's directory; read by any replica. One JSON object per line, the
oldest first. Invariants: 1. Ids grow by one. 2. The last KEPT events are there, and at most twice as many. 3. How many
of each kind there have been, for metrics, is in a file beside it and never falls.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

KEPT = 1000
Kind = Literal[
    "wanted",
    "unwanted",
    "published",
    "refused",
    "rolled_back",
    "problem",
    "requested",
    "ready",
    "replica_lost",
    "engine_lost",
]
"""wanted, unwanted: a version should be served, or no more. published, refused: by all replicas, by none. rolled_back:
a published version failed too often, the one before serves again. problem: something in the repository is wrong.
requested: a client wants a model loaded or unloaded. ready, replica_lost, engine_lost: a replica or
an engine serves, or has ended."""

_log = logging.getLogger("headrace.pool")


class Happened(msgspec.Struct, frozen=True):
    """One event. `model` and `version` are "" where it concerns none; `time` is seconds since 1970."""

    id: int
    time: float
    kind: Kind
    model: str
    version: str
    text: str


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Happened).decode


class Journal:
    """The supervisor's pen."""

    def __init__(self, directory: Path) -> None:
        self._path = _in(directory)
        self._last: deque[Happened] = deque(maxlen=KEPT)
        self._id = 0
        self._lines = 0
        self._counts: Counter[str] = Counter()

    def note(self, kind: Kind, model: str = "", version: int | None = None, text: str = "") -> None:
        """It has just happened. Never fails: a full disk must not end the pool."""
        self._id += 1
        happened = Happened(self._id, time.time(), kind, model, "" if version is None else str(version), text)
        self._last.append(happened)
        self._counts[kind] += 1
        try:
            _replace(_counts_in(self._path.parent), msgspec.json.encode(self._counts))
            if self._lines < 2 * KEPT:
                with self._path.open("ab") as file:
                    file.write(_encode(happened) + b"\n")
                self._lines += 1
            else:
                _replace(self._path, b"".join(_encode(one) + b"\n" for one in self._last))
                self._lines = len(self._last)
        except OSError as error:
            _log.warning("an event cannot be written down: %s", error.strerror)


def read(directory: Path, since: int = 0, model: str = "") -> list[Happened]:
    """The events after the one with the id `since`, of one model or of all."""
    try:
        lines = _in(directory).read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    found = [_decode(line) for line in lines if line.endswith(b"\n")]
    return [one for one in found if one.id > since and model in ("", one.model)]


def counts(directory: Path) -> Mapping[str, int]:
    """How many events of each kind there have been, of those that there have been any of."""
    try:
        return msgspec.json.decode(_counts_in(directory).read_bytes(), type=dict[str, int])
    except FileNotFoundError:
        return {}


def _in(directory: Path) -> Path:
    return directory / "events"


def _counts_in(directory: Path) -> Path:
    return directory / "event-counts"


def _replace(path: Path, content: bytes) -> None:
    """Readers see the old or the new."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(content)
    fresh.replace(path)
