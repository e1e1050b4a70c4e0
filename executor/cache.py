"""Files that are costly to make, kept in a folder for all processes and later starts: made by one, awaited by the rest.

    folder/KEY.lock     shared while the entry is opened, exclusive while it is made or deleted
           KEY.part/    being made, or left by one who died making it
           KEY/         complete: renamed from KEY.part

Invariants: 1. Nothing is used that was not checked whole under the lock. 2. Only who holds no lock waits for one.
3. What is deleted may be mapped: its pages stay until the last process lets go. 4. A failure here is never the
caller's, who is told to do without. Does not know what is in an entry.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from executor import entries
from executor.entries import Facts
from executor.locks import AVAILABLE, locked

T = TypeVar("T")
Make = Callable[[Path], bool]
"""Fills an empty folder. False: what it was asked for is not what there is now, and nothing is kept."""

log = logging.getLogger("headrace.executor")

_OURS = re.compile(r"[0-9a-f]{32}(\.part)?")
_ATTEMPTS = 2
"""After so many that did not end well (the maker was killed, perhaps for its memory), all do without for a while."""
_RETRY_AFTER_S = 24 * 3600.0


def why_not(folder: Path) -> str | None:
    """Why there can be no cache in `folder`, None if there can; it exists then."""
    if not AVAILABLE:
        return "this system has no locks for it"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError as error:
        return f"{folder} cannot be made: {error.strerror}"
    if found.st_uid not in (0, os.geteuid()):
        return f"{folder} belongs to somebody else"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"{folder} can be written by others (chmod go-w, or name a folder below it)"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"{folder} cannot be written"
    return None


def open_cache(folder: Path, max_bytes: int) -> Cache | None:
    """The cache in `folder`, None if it is switched off or there can be none."""
    return None if max_bytes == 0 or why_not(folder) else Cache(folder, max_bytes)


class Cache:
    """A folder for which `why_not` has no reason, with at most `max_bytes` in it."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder, self.max_bytes = folder, max_bytes

    def use(self, facts: Facts, use: Callable[[Path], T], make: Make | None) -> T | None:
        """What `use` makes of the entry of these facts, which is made first if need be; None: do without.

        Blocking. `make` None: only what is there. What `use` raises is the caller's.
        """
        key = entries.key(facts)
        entry, lock = self.folder / key, self.folder / f"{key}.lock"
        fault = None
        for _ in range(2):
            try:
                if entry.exists() or make:
                    with locked(lock, shared=True):
                        fault = entries.fault(entry, facts) if entry.exists() else None
                        if entry.exists() and not fault:
                            entries.touch(entry)
                            return use(entry)
                if fault:
                    log.warning("%s in the cache is not used: %s", entry, fault)
                if make is None or not self._made(entry, lock, facts, make, damaged=fault is not None):
                    return None
            except OSError as error:
                log.warning("the cache cannot be used: %s", error)
                return None
        return None

    def has_room(self, wanted: int) -> bool:
        """Whether an entry of `wanted` bytes can be kept here, on the disk as it is."""
        return wanted <= self.max_bytes and wanted <= shutil.disk_usage(self.folder).free

    def _made(self, entry: Path, lock: Path, facts: Facts, make: Make, damaged: bool) -> bool:
        with locked(lock) as file:
            assert file is not None
            if entry.exists() and not (damaged and entries.fault(entry, facts)):
                return True  # by the one we waited for
            if not _may_try(file):
                return False
            part = entry.with_suffix(".part")
            for old in (entry, part):
                if old.exists():
                    shutil.rmtree(old)
            part.mkdir(mode=0o700)
            try:
                if not make(part):
                    return False
                entries.complete(part, facts)
                if not self._make_room(entries.size(part), entry):
                    return False
                part.rename(entry)
            finally:
                shutil.rmtree(part, ignore_errors=True)
            os.ftruncate(file, 0)
            return True

    def _make_room(self, wanted: int, but: Path) -> bool:
        """Delete what was not used for longest, and what dead makers left, until `wanted` more bytes fit."""
        if wanted > self.max_bytes:
            return False
        total = wanted
        for entry in sorted(self._others(but), key=entries.last_used, reverse=True):
            total += (size := entries.size(entry))
            if total > self.max_bytes or entry.suffix:
                with locked(entry.with_suffix(".lock"), wait=False) as file:
                    if file is not None:  # else it is being made or opened at this moment
                        shutil.rmtree(entry, ignore_errors=True)
                        total -= size
                        if not os.fstat(file).st_size:
                            entry.with_suffix(".lock").unlink(missing_ok=True)
        return total <= self.max_bytes

    def _others(self, but: Path) -> Iterator[Path]:
        for path in self.folder.iterdir():
            if _OURS.fullmatch(path.name) and path.stem != but.stem:  # never what somebody else keeps here
                yield path


def _may_try(lock: int) -> bool:
    """Note in the lock's file that an attempt begins; it is emptied after one that ended well."""
    found = os.fstat(lock)
    if found.st_size >= _ATTEMPTS:
        if time.time() - found.st_mtime < _RETRY_AFTER_S:
            return False
        os.ftruncate(lock, 0)
    os.lseek(lock, 0, os.SEEK_END)
    os.write(lock, b"x")
    return True
