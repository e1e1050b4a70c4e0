"""Make what is loaded follow what is wanted, and give requests a handle on what is READY.

Receives the wanted set from a source or the control plane (`want`) and `load` from whoever composes the server; hands
`Handle`s to the data plane. Lives on one event loop; nothing here may be called from another thread.

1. Loads, reloads and unloads are one mechanism: edit the wanted set, and `run` asks `next_action` until it says None.
2. A version is READY after requests find it, and QUIESCING before they no longer do.
3. A servable is closed when its last handle has been released, and never twice.
4. A load that fails marks its version FAILED with the reason; nothing else changes.
5. An instance stays beside the one of the same version that replaces it while that is on trial, to take over again.

It does not look at the disk and does not know what a servable does, only that it can be closed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Generic

from headrace.errors import ServingError
from headrace.models import ModelId
from model_repo import index
from model_repo.actions import Load, Unload, next_action
from model_repo.found import Problem
from model_repo.handle import Handle, S
from model_repo.index import IndexRow
from model_repo.instances import Instances
from model_repo.refusal import refusal
from model_repo.routes import HIGHEST, Routes
from model_repo.routing import Routing
from model_repo.spec import VersionSpec, WantedSet
from model_repo.states import State
from model_repo.wishes import Wishes

log = logging.getLogger("headrace.model_repo")

GRACE_S = 1.0
"""Longer than a trial, in which the word that it was lost may be on its way."""
NO_ROUTING: Mapping[str, Routing] = {}
BUSY = (State.NEW, State.LOADING, State.QUIESCING, State.UNLOADING)


class Manager(Generic[S]):
    """The loaded models of one process. `run` must be running for anything to happen.

    `load` is called for everything that is missing, at once: it knows how many may run together. It may take its time
    and wait for others (until all replicas have prepared the version): what it returns is published at once.
    """

    def __init__(self, load: Callable[[VersionSpec], Awaitable[S]]) -> None:
        self._load = load
        self._wishes = Wishes()
        self._instances: Instances[S] = Instances()
        self._routes: Routes[S] = Routes()
        self._unsettled: dict[str, None] = {}  # names to ask next_action about, in order
        self._abandoned: list[Handle[S]] = []  # FAILED after they were READY: to be closed
        self._closing = False
        self._running = False
        self._wake = asyncio.Event()
        self._progress = asyncio.Event()

    # --- for requests ---

    def acquire(self, name: str, version: str, sticky: str = "", request_id: str = "") -> Handle[S]:
        """A claim on a READY version, by number or label; "" is the highest one, or one by the model's `traffic`, the
        same for the same `sticky` (without it for the same id, if the model says so). The caller must `release` it.

        Raises ModelNotFound if there is no such model or version, ModelNotReady if there is and it cannot serve now.
        """
        try:
            handle = self._routes.table[name][version]
        except KeyError:
            handle = self._found(name, version, self._routes.find(name, version, sticky, request_id))
        handle.claims += 1
        return handle

    def look(self, name: str, version: str) -> S:
        """What `acquire` would claim, for this turn of the loop; of a model that is split "" is the highest version.

        Raises like `acquire`.
        """
        return self._found(name, version, self._routes.shown(name, version)).servable

    def splits(self, name: str, version: str) -> bool:
        """Whether the choice for such requests may depend on a key: else nobody need look for one."""
        return version == HIGHEST and bool(self._routes.routing_of(name).traffic)

    def labels(self, name: str) -> dict[str, int]:
        """Label -> the READY version that it points to."""
        return self._routes.labels(name)

    def ready_versions(self, name: str) -> list[int]:
        """The versions of a model that `acquire` would give, ascending."""
        return self._routes.versions(name)

    def servables(self) -> list[tuple[ModelId, S]]:
        """All that `acquire` would give, by name and version. For metrics and statistics; no claim is made."""
        return self._routes.servables()

    def may_come(self, name: str) -> bool:
        """Whether it is worth waiting for a version of the model: it is asleep, or not all is settled about it."""
        coming = self._instances.last_in((State.NEW, State.LOADING), name) is not None
        return coming or self._pending(name) or self._wishes.asleep(name)

    async def progressed(self) -> None:
        """Wait until something has happened: what `acquire` and `may_come` say may have changed."""
        await self._progress.wait()

    # --- for the control plane ---

    def want(
        self, wanted: WantedSet, problems: Iterable[Problem] = (), routing: Mapping[str, Routing] = NO_ROUTING
    ) -> None:
        """Replace the wanted set, how requests choose from it, and the problems that the index shows (new are logged).

        Ignored once `close` was called.
        """
        if self._closing:
            return
        self._unsettled |= dict.fromkeys(self._wishes.replace(wanted, problems))
        for name in self._routes.follow(routing):
            if self._wishes.of(name):
                self._route(name)
                self._unsettled[name] = None  # a version that a label has left may have to go
        self._wake.set()

    def withdraw(self, id: ModelId, fingerprint: str, reason: str) -> None:
        """A version that is served has proven bad: it FAILED, and whatever served before serves again.

        Without another instance of the model to take over, it goes on.
        """
        ready = self._instances.ready(id.name)
        bad = [handle for handle in ready if handle.spec.id == id and handle.spec.fingerprint == fingerprint]
        if not bad or len(ready) == 1:
            return
        handle = bad[0]
        log.warning("%s is taken back: %s", id, reason)
        handle.life.advance(State.FAILED, reason)
        self._route(id.name)
        self._abandoned.append(handle)
        self._changed(id.name)

    async def settled(self, name: str | None = None) -> None:
        """Wait until every wanted version is READY or FAILED and whatever may leave is gone; of one model or of all.

        Versions that are kept although nobody wants them, because their successor failed, do not count as unsettled.
        """
        await self._until_none(name, BUSY)

    async def loaded(self, name: str | None = None) -> None:
        """Wait until every wanted version is READY or FAILED, not for the handles on what is leaving."""
        await self._until_none(name, (State.NEW, State.LOADING))

    def index(self, name: str | None = None) -> list[IndexRow]:
        """What is in the repository and how it fares, by name and version; of one model or of all."""
        names = {*self._wishes, *self._instances} if name is None else (name,)
        return index.rows(
            (id for name in names for id in self._wishes.of(name)),
            ((handle.spec.id, handle.life.state, handle.life.reason) for handle in self._instances.of(name)),
            (problem for name in names for problem in self._wishes.problems(name)),
        )

    # --- the loop ---

    async def run(self) -> None:
        """Reconcile until `close`. One long-lived task, started once by its owner.

        Cancelling it abandons the loads under way and leaves servables open: for an orderly end, `close` first.
        """
        assert not self._running, "run is started once"
        self._running = True
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    self._wake.clear()
                    self._reconcile(group)
                    self._tell()
                    if self._closing and not self._instances:
                        return
                    await self._wake.wait()
        finally:
            self._running = False
            self._tell()

    async def close(self) -> None:
        """Refuse new requests, unload everything as its handles are released, end `run`; returns when all is done."""
        self.want({})
        self._closing = True
        self._wake.set()
        while self._running:
            await self._progress.wait()

    def _reconcile(self, group: asyncio.TaskGroup) -> None:
        """Start all that can be started now; every end of a load or an unload comes back here through `_wake`."""
        while self._abandoned:
            handle = self._abandoned.pop()
            group.create_task(handle.close(), name=f"close {handle.spec.id}")
        while self._unsettled:
            name = next(iter(self._unsettled))
            del self._unsettled[name]
            self._reconcile_model(name, group)

    def _reconcile_model(self, name: str, group: asyncio.TaskGroup) -> None:
        while True:
            instances = self._instances.of(name)
            action = next_action(
                self._wishes.of(name), [handle.snapshot() for handle in instances], self._routes.held(name)
            )
            match action:
                case None:
                    return
                case Unload(serial):
                    handle = next(handle for handle in instances if handle.serial == serial)
                    if handle.life.state is State.FAILED:
                        self._instances.forget(handle)
                    else:
                        self._withdraw(handle)
                        group.create_task(self._unload(handle), name=f"unload {handle.spec.id}")
                case Load(spec):
                    handle = self._instances.begin(spec)
                    group.create_task(self._load_one(handle), name=f"load {spec.id}")

    async def _load_one(self, handle: Handle[S]) -> None:
        id = handle.spec.id
        try:
            handle.servable = await self._load(handle.spec)
        except asyncio.CancelledError:
            handle.life.advance(State.FAILED, "the load was cancelled")
            raise
        except ServingError as error:
            level = (
                logging.WARNING if self._wishes.includes(handle.spec) else logging.DEBUG
            )  # overtaken, or put to sleep
            log.log(level, "%s failed to load: %s", id, error)
            handle.life.advance(State.FAILED, str(error))
        except Exception as error:
            log.exception("%s failed to load", id)
            handle.life.advance(State.FAILED, f"{type(error).__name__}: {error}")
        else:
            if self._wishes.includes(handle.spec):
                self._publish(handle)
            else:
                await self._unload(handle)
        finally:
            self._changed(id.name)

    async def _unload(self, handle: Handle[S]) -> None:
        """Close a servable that no new request can reach, and forget it."""
        await handle.released()
        handle.life.advance(State.UNLOADING)
        await handle.close()
        self._instances.forget(handle)
        self._changed(handle.spec.id.name)

    def _publish(self, handle: Handle[S]) -> None:
        """Requests find it, then it says READY: whoever reads READY may send."""
        watch_s = handle.spec.config.safe_reload.watch_s
        if watch_s and self._instances.ready(handle.spec.id.name):
            handle.on_trial = True
            asyncio.get_running_loop().call_later(watch_s + GRACE_S, self._trial_over, handle)
        self._route(handle.spec.id.name, handle)
        handle.life.advance(State.READY)
        log.info("%s is ready", handle.spec.id)

    def _trial_over(self, handle: Handle[S]) -> None:
        handle.on_trial = False
        self._changed(handle.spec.id.name)

    def _withdraw(self, handle: Handle[S]) -> None:
        """It says QUIESCING, then requests no longer find it."""
        handle.life.advance(State.QUIESCING)
        self._route(handle.spec.id.name)

    def _route(self, name: str, *joining: Handle[S]) -> None:
        self._routes.point(name, (*self._instances.ready(name), *joining))

    # --- who waits and who asks ---

    def _changed(self, name: str) -> None:
        self._unsettled[name] = None
        self._wake.set()

    def _tell(self) -> None:
        """Wake everyone who waits in `_until_none` or `close`."""
        self._progress.set()
        self._progress = asyncio.Event()

    async def _until_none(self, name: str | None, states: tuple[State, ...]) -> None:
        while self._pending(name) or self._instances.last_in(states, name) is not None:
            last = self._instances.last_in(states, name)
            await self._progress.wait()
            while last is not None and last.life.state in states:
                await self._progress.wait()

    def _pending(self, name: str | None) -> bool:
        return bool(self._unsettled) if name is None else name in self._unsettled

    def _found(self, name: str, version: str, handle: Handle[S] | None) -> Handle[S]:
        """What was found; else an error that says what is there."""
        if handle is None:
            raise refusal(name, version, self.index(name), self._routes.routing_of(name).labels)
        return handle
