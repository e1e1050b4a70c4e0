"""All remote repositories of a server, for the event loop: synchronise them now, and keep them so.

Made from what was configured; `folders` are what to scan. One outage of a remote is one warning and one word when it is
over; meanwhile what was copied is served, and it is asked again, ever more rarely (`plan.next_look`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

from headrace.errors import RepositoryError
from headrace.repositories import Url
from model_repo.remote.address import folder_name, shown
from model_repo.remote.copy import Copy
from model_repo.remote.mirror import Mirror, Outcome
from model_repo.remote.plan import next_look
from model_repo.remote.storage import Storage
from model_repo.remote.threads import in_thread

log = logging.getLogger("headrace.model_repo")

Sleep = Callable[[float], Awaitable[object]]


class Remotes:
    """Used from one event loop. `folders` are the repositories in the order named, copies in place of their URLs."""

    def __init__(
        self, repositories: Sequence[Path | Url], cache: Path, interval_s: float = 15.0, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._remotes = {
            url: _Remote(Mirror(shown(url), Storage(url), Copy(cache.absolute() / "remote" / folder_name(url))))
            for url in repositories
            if not isinstance(url, Path)
        }
        self._interval_s = interval_s
        self._sleep = sleep
        self.folders = tuple(
            item if isinstance(item, Path) else self._remotes[item].mirror.copy.models for item in repositories
        )

    async def synchronise(self) -> None:
        """All copies are up to date, or as they were; raises RepositoryError if there is none to serve from."""
        await asyncio.gather(*(remote.synchronise() for remote in self._remotes.values()))

    @contextlib.asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """During the block the copies follow the remotes. Who watches the folders sees it."""
        # No TaskGroup: sources are generators, and a group must not be left open across a yield.
        tasks = [
            asyncio.create_task(remote.follow(self._interval_s, self._sleep), name=f"follow {remote.mirror.name}")
            for remote in self._remotes.values()
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


NO_REMOTES = Remotes((), Path())
"""Where all repositories are folders."""


class _Remote:
    """One mirror, what it said last, and its turn: only one synchronises at a time."""

    def __init__(self, mirror: Mirror) -> None:
        self.mirror = mirror
        self._turn = asyncio.Lock()
        self._failures = 0
        self._empty = False

    async def synchronise(self) -> None:
        async with self._turn:
            stop = threading.Event()
            try:
                outcome = await in_thread(lambda: self.mirror.synchronise(stop))
            except RepositoryError as error:
                if not self.mirror.copy.is_whole:
                    raise
                self._failed(f"{error}; what was copied before is served")
            else:
                self._came(outcome)
            finally:
                stop.set()

    async def follow(self, interval_s: float, sleep: Sleep) -> None:
        while True:
            await sleep(next_look(interval_s, self._failures))
            try:
                await self.synchronise()
            except RepositoryError as error:
                self._failed(str(error))
            except Exception:
                self._failures += 1
                log.exception("%s cannot be copied: this is a bug", self.mirror.name)

    def _came(self, outcome: Outcome) -> None:
        if outcome.failures:
            model, why = next(iter(outcome.failures.items()))
            more = f", nor {len(outcome.failures) - 1} more" if len(outcome.failures) > 1 else ""
            sentence = f"{self.mirror.name}: model {model} cannot be copied{more}: {why}"
            if not self.mirror.copy.has_models:
                raise RepositoryError(sentence)
            self._failed(sentence)
            return
        if self._failures:
            log.info("%s is copied again", self.mirror.name)
        self._failures = 0
        if not outcome.files and not self._empty:
            log.warning("%s has no models: expected NAME/VERSION/model.onnx in it", self.mirror.name)
        self._empty = not outcome.files

    def _failed(self, sentence: str) -> None:
        """Said once per outage: what is said first tells what to look at."""
        self._failures += 1
        log.log(logging.WARNING if self._failures == 1 else logging.DEBUG, "%s", sentence)
