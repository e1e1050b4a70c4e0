"""One remote file into a part of its own, gone on with where it was left.

Receives an entry and the part's path, which belongs to this state of the file alone: what is in it already is a true
beginning, whoever wrote it. Afterwards the part is whole and on the disk, or an exception says why not and the part
keeps what came. Nothing but the part is touched.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from headrace.errors import RepositoryError
from model_repo.remote.marks import same
from model_repo.remote.plan import Entry
from model_repo.remote.storage import CannotResume, reason

TRIES = 3
"""In a row without a new byte. As long as bytes come, it goes on."""
PAUSES_S = (0.2, 0.5, 2.0)


class Stopped(Exception):
    """It was told to stop."""


class Readable(Protocol):
    """What is needed of a storage, and of the tests' fakes."""

    def read(self, entry: Entry, offset: int) -> Iterator[bytes]:
        """See `Storage.read`."""

    def mark(self, entry: Entry) -> str:
        """See `Storage.mark`."""


def download(
    storage: Readable, entry: Entry, part: Path, pause: Callable[[float], object], stopped: Callable[[], bool]
) -> None:
    """Complete the part. Raises Stopped, or RepositoryError: the last reason, or that the file is another by now."""
    before = _mark(storage, entry, pause)
    tries = best = 0
    while _size(part) != entry.size:
        try:
            _append(storage, entry, part, stopped)
            why = f"it ended after {max(_size(part), 0)} of {entry.size} bytes"
        except (Stopped, RepositoryError):
            raise
        except CannotResume:
            part.unlink()
            why = "it broke off, and can only be read from its beginning"
        except Exception as error:  # backends raise what their libraries do
            why = reason(error)
        if (size := _size(part)) == entry.size:
            break
        # What must begin anew makes no progress until it gets further than ever: it would go on for ever.
        tries, best = (0, size) if size > best else (tries + 1, best)
        if tries == TRIES:
            raise RepositoryError(why)
        pause(PAUSES_S[tries])
    if _mark(storage, entry, pause) != before or not same(entry.mark, before):
        part.unlink()
        raise RepositoryError("it changed while it was copied")


def _mark(storage: Readable, entry: Entry, pause: Callable[[float], object]) -> str:
    for wait_s in PAUSES_S:
        try:
            return storage.mark(entry)
        except Exception as error:  # backends raise what their libraries do
            why = reason(error)
            pause(wait_s)
    raise RepositoryError(why)


def _append(storage: Readable, entry: Entry, part: Path, stopped: Callable[[], bool]) -> None:
    with _disk():
        file = part.open("ab", buffering=0)
    with file:
        # A thread that was given up may still hang on its network, and write once more when that answers.
        with _disk():
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if (size := os.fstat(file.fileno()).st_size) > entry.size:
            part.unlink()
            return
        for chunk in storage.read(entry, size):
            if stopped():
                raise Stopped
            size += len(chunk)
            if size > entry.size:
                part.unlink()
                raise RepositoryError(f"more than the {entry.size} bytes came that were listed")
            with _disk():
                _write_all(file, chunk)
        with _disk():
            os.fsync(file.fileno())


def _write_all(file: io.FileIO, chunk: bytes) -> None:
    left = memoryview(chunk)
    while left:
        left = left[file.write(left) :]


@contextlib.contextmanager
def _disk() -> Iterator[None]:
    """A full disk is no fault of the remote, and trying again does not help."""
    try:
        yield
    except OSError as error:
        raise RepositoryError(f"its copy cannot be written: {error.strerror}") from None


def _size(part: Path) -> int:
    """-1: it is not there; an empty file has a part too."""
    try:
        return part.stat().st_size
    except FileNotFoundError:
        return -1
