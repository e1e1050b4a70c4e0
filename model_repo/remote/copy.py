"""The local copy of one remote repository: a folder of models, and what is needed to change it without showing halves.

    COPY/models/MODEL/...   the repository that is served; files in it never change, they are replaced
    COPY/marks/MODEL.json   which state of the remote file each of them is
    COPY/parts/             downloads that are not whole yet
    COPY/fresh/, old/       what is about to come, what has just gone
    COPY/whole, lock        it was once complete; who changes it holds the lock

Called by who holds the lock. Invariants: 1. A version's folder, and a model that is new, appear by one rename, with all
their files. 2. No file is written in place: a session may have it mapped. 3. A mark is never newer than its file.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path

from model_repo.remote.plan import Entry, ModelPlan


class Copy:
    """One folder. Every method may raise OSError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.models = folder / "models"
        self._marks, self._parts = folder / "marks", folder / "parts"
        self._fresh, self._old = folder / "fresh", folder / "old"

    @property
    def is_whole(self) -> bool:
        """Whether it was ever complete."""
        return os.access(self.folder / "whole", os.F_OK)  # unlike exists(), it never raises

    @property
    def has_models(self) -> bool:
        """Whether there is anything to serve."""
        return self.models.is_dir() and any(self.models.iterdir())

    def now_whole(self) -> None:
        """From now on it may be served although the remote cannot be reached."""
        (self.folder / "whole").touch()

    def make(self) -> None:
        """The folders, if they are not there yet."""
        for folder in (self.models, self._marks, self._parts):
            folder.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def locked(self, wait: Callable[[], object]) -> Iterator[None]:
        """Alone among all processes. `wait` is called if somebody else is at it. A process that ends lets go."""
        with (self.folder / "lock").open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                wait()
                fcntl.flock(file, fcntl.LOCK_EX)
            self._tidy()
            yield

    def marks(self) -> dict[str, str | None]:
        """The files that are there, by path; None where it is not known of which remote file it is the copy."""
        found: dict[str, str | None] = {}
        for folder, _, names in os.walk(self.models):
            for name in names:
                found[(Path(folder) / name).relative_to(self.models).as_posix()] = None
        for model in {path.partition("/")[0] for path in found}:
            for path, (mark, size) in self._read_marks(model).items():
                file = self.models / path
                if path in found and not file.is_symlink() and file.stat().st_size == size:
                    found[path] = mark
        return found

    def part(self, path: str, entry: Entry) -> Path:
        """Where this state of the file is downloaded to, now and after any interruption."""
        return self._parts / blake2b(f"{path}\0{entry.mark}".encode(), digest_size=16).hexdigest()

    def drop_parts(self, but: set[Path]) -> None:
        """Those that nobody will go on with."""
        for part in self._parts.iterdir():
            if part not in but:
                part.unlink()

    def install(self, plan: ModelPlan) -> None:
        """Make the model what is planned. All parts must be whole."""
        place, fresh = self.models / plan.name, self._fresh / plan.name
        if not plan.wanted:
            self._retire(place)
            (self._marks / f"{plan.name}.json").unlink(missing_ok=True)
            return
        items = {_item(path) for path in (*plan.fetch, *plan.remove) if "/" in path}
        for path, entry in plan.wanted.items():
            if _item(path) in items:
                file = self._fresh / path
                file.parent.mkdir(parents=True, exist_ok=True)
                _link(self.part(path, entry) if path in plan.fetch else self.models / path, file)
        if place.is_symlink() or not place.is_dir():
            self._retire(place)
            fresh.rename(place)
        else:
            self._write_marks(plan.name, plan.keep)
            # Versions before the configuration that may name them, and what goes last.
            for item in sorted(items, key=lambda item: (not (fresh / item).exists(), (fresh / item).is_file(), item)):
                self._replace(fresh / item, place / item)
        self._write_marks(plan.name, plan.wanted)
        for path, entry in plan.fetch.items():
            self.part(path, entry).unlink()
        self._tidy()

    def _replace(self, new: Path, place: Path) -> None:
        if new.is_file() and place.is_file() and not place.is_symlink():
            new.replace(place)
            return
        self._retire(place)
        if new.exists():
            new.rename(place)

    def _retire(self, path: Path) -> None:
        """Gone from view at once, however many files it has."""
        if path.is_symlink() or path.exists():
            self._old.mkdir(exist_ok=True)
            path.rename(self._old / f"{path.parent.name} {path.name}")

    def _tidy(self) -> None:
        for folder in (self._fresh, self._old):
            shutil.rmtree(folder, ignore_errors=True)

    def _read_marks(self, model: str) -> Mapping[str, tuple[str, int]]:
        try:
            document = json.loads((self._marks / f"{model}.json").read_text())
            return {path: (str(mark), int(size)) for path, (mark, size) in document.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def _write_marks(self, model: str, files: Mapping[str, Entry]) -> None:
        file = self._marks / f"{model}.json"
        new = file.with_name(f"{file.name}.new")
        new.write_text(json.dumps({path: (entry.mark, entry.size) for path, entry in files.items()}))
        new.replace(file)


def _item(path: str) -> str:
    """What is swapped as one: a version's folder, or a file beside the versions."""
    return path.split("/")[1]


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # not every file system has links to files
        shutil.copy2(source, target)
