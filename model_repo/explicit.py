"""The wanted set of explicit mode: the models that were asked for, each as it was when it was last asked for.

Made by `sources.source`, iterated by the supervisor for what is wanted at the start, edited by it when a load or unload
request comes. Invariants: 1. An edit looks at the one model that it names; what else changed on disk waits until it is
asked for. 2. A load of what is loaded is another load: it gets another fingerprint. 3. Edits take effect one by one.
Before a load looks, the remotes synchronise.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import replace
from pathlib import Path

from headrace.errors import ModelNotFound
from model_repo.found import NOT_LOADED, NOT_THERE, ModelScan, Scan
from model_repo.look import look
from model_repo.override import Override
from model_repo.remote.remotes import NO_REMOTES, Remotes

ALL = "*"


class Explicit:
    """`names` are the models to begin with, "*" means all of them. Used on one event loop."""

    def __init__(self, repositories: Sequence[Path], names: Collection[str], remotes: Remotes = NO_REMOTES) -> None:
        self._repositories = repositories
        self._remotes = remotes
        self._begin_with = names
        self._scan = Scan({})
        self._serial = 0
        self._one_by_one = asyncio.Lock()

    async def __aiter__(self) -> AsyncIterator[Scan]:
        """What is wanted at the start. A name that is not in the repository is a problem in the scan.

        Raises RepositoryError if a repository cannot be read.
        """
        async with self._one_by_one:
            await self._remotes.synchronise()
            self._scan = await look(self._repositories, None if ALL in self._begin_with else self._begin_with)
        yield self._scan

    async def load(self, name: str, override: Override) -> Scan:
        """Want the model as it is now. What is wanted from here on; of a model that is broken that is what was wanted
        before, beside its problems. Raises ModelNotFound and RepositoryError, and nothing has changed.
        """
        await self._remotes.synchronise()  # may take long: others need not wait for it
        async with self._one_by_one:
            self._serial += 1
            fresh = await look(self._repositories, (name,), {name: replace(override, serial=self._serial)})
            found, before = fresh.models[name], self._scan.models.get(name, ModelScan())
            if _only(NOT_THERE, found):
                raise ModelNotFound(f"model {name!r} is not in the repository")
            model = found if found.versions else replace(before, problems=found.problems)
            self._scan = _edited(self._scan, fresh, name, model)
            return self._scan

    async def unload(self, name: str) -> Scan:
        """Want the model no more. What is wanted from here on. Raises like `load`."""
        async with self._one_by_one:
            fresh = await look(self._repositories, ())
            if name not in fresh.models and name not in self._scan.models:
                raise ModelNotFound(f"model {name!r} is neither loaded nor in the repository")
            self._scan = _edited(self._scan, fresh, name, fresh.models.get(name))
            return self._scan


def _edited(held: Scan, fresh: Scan, name: str, model: ModelScan | None) -> Scan:
    """What is held of the models that were asked for, `model` for `name`, and what else there is now."""
    asked = {other: found for other, found in held.models.items() if not _only(NOT_LOADED, found)}
    models = {**fresh.models, **asked, name: model}
    return Scan({name: found for name, found in sorted(models.items()) if found is not None})


def _only(reason: str, model: ModelScan) -> bool:
    return not model.versions and [problem.reason for problem in model.problems] == [reason]
