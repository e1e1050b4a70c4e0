"""One replica's server, composed: models, data plane, REST and gRPC front ends.

The pool calls it (see `server.pool.application` for when); it owns everything a replica has except its process and
its listening socket. Start-up and drain are mirror images of each other.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import logging
import os
import time
from functools import partial
from typing import TYPE_CHECKING

from batcher.turns import Turns
from executor.budget import Budget
from executor.cache import open_cache
from executor.host import Host
from executor.memory import few_arenas
from headrace.cache import cache_folder
from headrace.config import ServerConfig
from headrace.errors import ServingError
from headrace.models import ModelId
from model_repo.manager import Manager
from model_repo.spec import VersionSpec
from server import logs
from server.dataplane import DataPlane
from server.doze import Doze
from server.engine.access import engine_for
from server.metrics import PoolMetrics
from server.pool.application import ReplicaPlace
from server.pool.channel import Settle
from server.rehearsal import rehearse
from server.rest.door import Door
from server.rest.shortcut import ShortCut
from server.rest.site import Site
from server.rpc.front import GrpcFront
from server.rpc.protocol import Wire
from server.rpc.tls import tls_context
from server.servable import Servable, load_servable, servable
from server.statistics import REFUSALS, Statistics
from server.waiting import WaitingRoom
from server.warmup import warm_up

if TYPE_CHECKING:
    from fastapi import FastAPI

logger = logging.getLogger("headrace.replica")

LOADS_AT_ONCE = 2
"""Models that a replica loads at the same time: one computes while the other reads."""
LINGER_S = 0.5
"""While draining, how long an idle connection may still send a request before it is closed: the answer then tells the
client to close, so that no request meets a connection that closes in its face."""


class Application:
    """A `ReplicaApplication`. All methods run on the replica's event loop."""

    def __init__(self, config: ServerConfig, place: ReplicaPlace) -> None:
        logs.set_up(config.log_format, config.log_level, f"replica {place.index}", echo=place.index > 0)
        few_arenas()
        self._config = config
        self._place = place
        self._statistics = Statistics(place.counters, place.index)
        holdings = self._statistics.holdings
        self._host = Host(
            place.replicas,
            open_cache(cache_folder(config.cache_dir, os.environ), config.cache_max_bytes),
            place.activity,
            Budget(holdings.turn, holdings.mapped),
        )
        self._models: Manager[Servable] = Manager(self._prepare)
        self._loads = asyncio.Semaphore(LOADS_AT_ONCE)
        self._devices: dict[str, Turns] = {}
        self._room = WaitingRoom(self._models, place.waker)
        refusals = self._statistics.open(REFUSALS, 1)
        room, doze = self._room if config.models_sleep else None, Doze(self._host.nap)
        self._plane = DataPlane(self._models, refusals, room, doze.refused)
        ready = place.board.pool_ready
        self._metrics = PoolMetrics(self._statistics, place.board, self._models.index, place.counted)
        self._door = Door(self._make_app, ready)
        self._site = Site(
            self._plane,
            self._door,
            max_body_bytes=config.max_body_bytes,
            receive_timeout_s=config.receive_timeout_s,
            keep_alive_s=config.keep_alive_s,
            refuse_status=config.refuse_status,
        )
        self._grpc = GrpcFront(
            self._plane,
            self._statistics,
            ready,
            place.editor,
            max_body_bytes=config.max_body_bytes,
            keep_alive_s=config.keep_alive_s,
            receive_timeout_s=config.receive_timeout_s,
            max_age_s=config.grpc_max_connection_age_s,
            lost=place.grpc.closed,
        )
        self.grpc_tls = tls_context(config.grpc_tls_certificate, config.grpc_tls_key)
        self._told = asyncio.Event()
        self._loaded = asyncio.Event()
        self._empty = asyncio.Event()

    async def run(self) -> None:
        """Reconcile models, follow the repository, look after connections: until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._models.run(), name="models")
            tasks.create_task(self._follow_wanted(tasks), name="wanted")
            tasks.create_task(self._room.follow(), name="waiting room")
            tasks.create_task(self._sweep(), name="connections")
            tasks.create_task(self._open_door(), name="door")

    async def load(self) -> None:
        """Returns when everything wanted is loaded or recorded as failed."""
        await self._told.wait()
        await self._models.loaded()
        gc.collect()
        gc.freeze()  # what is loaded by now stays: full collections need not walk it
        gc.set_threshold(50_000, 20, 100)  # requests make no cycles; the default looks for them every other batch
        self._loaded.set()

    @staticmethod
    def at_leisure() -> None:
        """Import what is not needed before it serves."""
        importlib.import_module("server.rest.app")

    def http_connection(self) -> ShortCut:
        """A protocol for one accepted connection."""
        return ShortCut(self._site, self._connection_lost)

    def grpc_connection(self) -> Wire:
        """Likewise, to the gRPC port."""
        return self._grpc.connection()

    async def drain(self, grace_s: float) -> None:
        """Answer what was accepted, close the connections, unload the models."""
        self._site.draining = True
        for connection in self._connections():
            connection.drain()
        self._place.editor.end()
        self._room.end()
        asyncio.get_running_loop().call_later(LINGER_S, self._close_idle)
        async with asyncio.TaskGroup() as ends:
            ends.create_task(self._grpc.drain(grace_s), name="drain gRPC")
            ends.create_task(self._connections_gone(), name="drain HTTP")
        self._place.agreement.end()
        await self._models.close()

    def _make_app(self) -> FastAPI:
        from server.rest.app import make_app  # noqa: PLC0415 - see door.py

        config, place = self._config, self._place
        return make_app(
            self._plane,
            self._statistics,
            self._metrics,
            place.board.pool_ready,
            place.editor,
            place.happened,
            config.max_body_bytes,
            config.refuse_status,
            config.default_model,
        )

    async def _open_door(self) -> None:
        await self._loaded.wait()
        try:
            await self._door.open()
        except (
            OSError,
            ImportError,
        ) as error:  # no descriptor or memory left, for example: who infers needs none of it
            logger.warning("documents, metrics and control must wait until they are asked for: %s", error)
        gc.freeze()

    async def _prepare(self, spec: VersionSpec) -> Servable:
        """Load, and wait until every replica has: what is returned is published. Raises LoadFailed."""
        agreement = self._place.agreement
        try:
            loaded = await self._load(spec)
        except BaseException as error:  # whatever it was, the others must not wait
            agreement.refuse(spec, str(error) or type(error).__name__)
            raise
        try:
            await self._rehearse(loaded, spec)
            await agreement.publish(spec)
        except BaseException:
            await loaded.close()
            raise
        loaded.trial.begin()
        return loaded

    async def _load(self, spec: VersionSpec) -> Servable:
        place = self._place
        object_to = partial(place.agreement.object_to, spec)
        engine = engine_for(spec, place.replicas)
        if engine is not None:
            remote = await place.engines.load(spec, engine)
            return servable(spec, remote, self._statistics.open(spec.id, remote.max_batch_rows), object_to)
        async with self._loads:
            return await load_servable(
                spec,
                self._host,
                self._statistics.open,
                object_to,
                place.planner,
                self._devices,
                self._statistics.holdings,
            )

    async def _rehearse(self, new: Servable, spec: VersionSpec) -> None:
        """Warm up with the model's own samples, then answer what its predecessor was asked last. Raises LoadFailed."""
        try:
            await warm_up(new, spec.warmup)
            try:
                handle = self._models.acquire(spec.id.name, "")
            except ServingError:  # it has no predecessor
                return
            try:
                old = handle.servable
                await rehearse(new, old, old.recent.samples() if old.recent else (), spec.config.safe_reload)
            finally:
                handle.release()
        except BaseException as error:
            self._place.agreement.refuse(spec, str(error) or type(error).__name__)
            raise

    async def _follow_wanted(self, tasks: asyncio.TaskGroup) -> None:
        agreement = self._place.agreement
        async for scan in agreement.scans():
            self._models.want(scan.wanted, scan.problems, scan.routing)
            self._told.set()
            for verdict in agreement.taken_back():
                self._models.withdraw(ModelId(verdict.model, verdict.version), verdict.fingerprint, verdict.reason)
            for question in agreement.questions():
                tasks.create_task(self._settle(question), name=f"settle {question.model}")

    async def _settle(self, question: Settle) -> None:
        await self._models.settled(question.model)
        self._place.agreement.settled(question)

    # -- connections ------------------------------------------------------------------------------------------------

    async def _sweep(self) -> None:
        """Once a second: the Date header, idle and slow connections. A poll, because one timer beats thousands."""
        loop = asyncio.get_running_loop()
        while True:
            now = loop.time()
            self._site.tick(now)
            if self._place.board.pool_leaving():
                self._site.draining = True  # busy connections end by an answer that says so, long before idle ones must
            for connection in self._connections():
                connection.sweep(now)
            self._grpc.sweep(now)
            await asyncio.sleep(1.0 - time.time() % 1.0)

    def _connections(self) -> list[ShortCut]:
        return [connection for connection in self._site.state.connections if isinstance(connection, ShortCut)]

    def _connection_lost(self) -> None:
        self._place.http.closed()
        if not self._site.state.connections:
            self._empty.set()

    def _close_idle(self) -> None:
        for connection in self._connections():
            if connection.idle:
                connection.transport.close()

    async def _connections_gone(self) -> None:
        while self._site.state.connections:
            self._empty.clear()
            await self._empty.wait()
