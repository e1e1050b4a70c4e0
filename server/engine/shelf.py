"""The versions that an engine has loaded, once for all replicas that want them: the last to leave unloads them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from headrace.models import ModelId
from model_repo.spec import VersionSpec
from server.core import Core

LoadCore = Callable[[VersionSpec], Awaitable[Core]]


class Key(NamedTuple):
    """What is the same for all replicas, and different for anything else."""

    id: ModelId
    fingerprint: str


class _Place:
    def __init__(self, loading: asyncio.Task[Core]) -> None:
        self.loading = loading
        self.holders = 0


class Shelf:
    """`load` is called for a version that nobody has yet. Failed loads are not kept."""

    def __init__(self, load: LoadCore) -> None:
        self._load = load
        self._closing: set[asyncio.Task[None]] = set()
        self._places: dict[Key, _Place] = {}

    async def take(self, key: Key, spec: VersionSpec) -> Core:
        """The version, loaded; to be given back. Raises what the load raised."""
        place = self._places.get(key)
        if place is None:
            loading: asyncio.Task[Core] = asyncio.ensure_future(self._load(spec))
            place = self._places[key] = _Place(loading)
        place.holders += 1
        try:
            return await asyncio.shield(place.loading)
        except BaseException:
            self._let_go(key, place)
            raise

    def give_back(self, key: Key) -> None:
        """One who took it needs it no more."""
        self._let_go(key, self._places[key])

    def _let_go(self, key: Key, place: _Place) -> None:
        place.holders -= 1
        if place.holders:
            return
        if self._places.get(key) is place:
            del self._places[key]
        closing = asyncio.get_running_loop().create_task(_close(place.loading), name=f"close {key.id}")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


async def _close(loading: asyncio.Task[Core]) -> None:
    await asyncio.wait({loading})
    if not loading.cancelled() and loading.exception() is None:
        await loading.result().close()
