"""Locks between processes, in files: held by whoever has one open, let go when he closes it or dies.

A lock's file may be removed by its holder. Who then waits for it would hold a file that nobody else can find: therefore
it is looked at again once it is held.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

if sys.platform != "win32":
    import fcntl

AVAILABLE = sys.platform != "win32"


@contextlib.contextmanager
def locked(path: Path, *, shared: bool = False, wait: bool = True) -> Iterator[int | None]:
    """The open file while it is held, by one or by several who share it; None if others do and `wait` is false.

    Blocking, without a deadline: the holder works or is dead. Raises OSError if the file cannot be made.
    """
    how = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(file, how)
            except BlockingIOError:
                yield None
                return
            if _is_at(file, path):
                yield file
                return
        finally:
            os.close(file)


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False
