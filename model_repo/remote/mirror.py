"""One remote repository and its copy: bring the copy up to date, once.

Receives a storage and a copy; says in the log what changes, hands back an `Outcome`. Blocking, from any thread. A model
is changed when all its new files are there; one that cannot be copied does not stop the others.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from headrace.errors import RepositoryError
from model_repo.remote import keys
from model_repo.remote.copy import Copy
from model_repo.remote.download import Readable, download
from model_repo.remote.plan import Entry, ModelPlan, plan
from model_repo.remote.storage import reason
from model_repo.remote.threads import spread

log = logging.getLogger("headrace.model_repo")

REFUSALS_SAID = 20
"""So many keys that cannot be copied are named in the log; the rest is a number."""


class Listable(Readable, Protocol):
    """A `Storage`, or the tests' fake of one."""

    @property
    def threads(self) -> int:
        """How many may read at a time."""

    def list(self) -> dict[str, Entry]:
        """All there is, by key."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`failures` are the models that are not as they should be, with the reason. `files` is all that the remote has."""

    files: int
    failures: Mapping[str, str]


class Mirror:
    """`name` is the URL as it may be shown."""

    def __init__(self, name: str, storage: Listable, copy: Copy) -> None:
        self.name = name
        self.copy = copy
        self._storage = storage
        self._said: set[str] = set()

    def synchronise(self, stop: threading.Event) -> Outcome:
        """Raises RepositoryError if the remote cannot be listed or the copy not written; nothing is lost then."""
        try:
            self.copy.make()
            with self.copy.locked(lambda: log.info("%s: another server is copying it; waiting", self.name)):
                return self._synchronise(stop)
        except OSError as error:
            raise RepositoryError(
                f"the copy of {self.name} in {self.copy.folder} cannot be written: {error.strerror or error};"
                " --cache-dir names another folder"
            ) from None

    def _synchronise(self, stop: threading.Event) -> Outcome:
        try:
            listing = self._storage.list()
        except Exception as error:  # backends raise what their libraries do
            raise RepositoryError(f"{self.name} cannot be listed: {reason(error)}") from None
        good, refused = keys.sort_out(listing)
        self._say(refused)
        models = plan(self.copy.marks(), {key: listing[key] for key in good})
        self.copy.drop_parts({self.copy.part(path, entry) for model in models for path, entry in model.fetch.items()})
        failures = self._change(models, stop)
        if not failures:
            self.copy.now_whole()
        return Outcome(len(good), failures)

    def _change(self, models: list[ModelPlan], stop: threading.Event) -> dict[str, str]:
        """Do what is planned; the models that it could not be done for."""
        if not models:
            return {}
        began = time.monotonic()
        files, size = sum(len(model.fetch) for model in models), _size(models)
        if files:
            log.info("%s: copying %s, %s", self.name, _count(files, "file"), _bytes(size))
        failures = self._fetch([model for model in models if model.fetch], stop, self.copy.install)
        for model in models:  # what goes, goes when what comes is there
            if not model.fetch:
                self.copy.install(model)
        done = [model for model in models if model.name not in failures]
        if done:
            log.info(
                "%s: copied %s, %s, and removed %d, in %.2f s",
                *(self.name, _count(sum(len(model.fetch) for model in done), "file"), _bytes(_size(done))),
                *(sum(len(model.remove) for model in done), time.monotonic() - began),
            )
        return failures

    def _fetch(
        self, models: list[ModelPlan], stop: threading.Event, install: Callable[[ModelPlan], None]
    ) -> dict[str, str]:
        failures: dict[str, str] = {}
        left = {model.name: len(model.fetch) for model in models}
        by_name = {model.name: model for model in models}

        def fetch(item: tuple[str, str, Entry, Path]) -> None:
            name, _, entry, part = item
            if name not in failures:
                download(self._storage, entry, part, stop.wait, lambda: stop.is_set() or name in failures)

        items = [
            (model.name, path, entry, self.copy.part(path, entry))
            for model in models
            for path, entry in model.fetch.items()
        ]
        for (name, path, _, _), error in spread(fetch, items, self._storage.threads):
            left[name] -= 1
            if isinstance(error, RepositoryError):
                failures.setdefault(name, f"{path}: {error}")
            elif isinstance(error, Exception) and name not in failures:
                raise error
            if not left[name] and name not in failures:
                install(by_name[name])
        return failures

    def _say(self, refused: Mapping[str, str]) -> None:
        new = sorted(set(refused) - self._said)
        self._said = set(refused)
        for key in new[:REFUSALS_SAID]:
            log.warning("%s: %r is not copied: it %s", self.name, key, refused[key])
        if len(new) > REFUSALS_SAID:
            log.warning("%s: %d more keys are not copied", self.name, len(new) - REFUSALS_SAID)


def _size(models: list[ModelPlan]) -> int:
    return sum(entry.size for model in models for entry in model.fetch.values())


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _bytes(number: int) -> str:
    return f"{number} bytes" if number < 100_000 else f"{number / 1e6:.1f} MB"
