"""The engines that a replica uses, by name, and which models are for an engine.

Receives the supervisor's word on engines from the replica, hands `RemoteCore`s to the application.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import Callable
from pathlib import Path

from executor.devices import device_of
from executor.providers import ON_THE_CPU
from model_repo.spec import VersionSpec
from server.engine.client import Engine
from server.engine.remote import RemoteCore
from server.pool.channel import EngineDown, EngineUp, Message, Need
from server.pool.directory import engine_in

_log = logging.getLogger("headrace.engine")


def engine_for(spec: VersionSpec, replicas: int) -> str | None:
    """The engine in which this version is to run; None: in every replica.

    One for each accelerator, so that what is on it is known to one process, and one for each model on the CPU, or on
    several devices.
    """
    placement = spec.config.placement
    if placement == "inline":
        return None
    if spec.config.sharding is not None:
        return f"stages of {spec.id.name}"
    if placement == "auto" and replicas == 1:
        return None
    device = device_of(spec.config)
    if device != ON_THE_CPU:
        return device
    return f"cpu {spec.id.name}" if placement == "shared" else None


class EngineAccess:
    """Used on the replica's event loop only. `send` is the way to the supervisor."""

    def __init__(self, directory: Path, send: Callable[[Message], None]) -> None:
        self._directory = directory
        self._send = send
        self._engines: dict[str, Engine] = {}
        self._connecting: set[asyncio.Task[None]] = set()

    async def load(self, spec: VersionSpec, name: str) -> RemoteCore:
        """Have the engine of this name load a version. Raises LoadFailed."""
        if name not in self._engines:
            path = engine_in(self._directory, name)
            self._engines[name] = Engine(name, path, lambda name: self._send(Need(name)))
        engine = self._engines[name]
        number, told = await engine.load(spec)
        metadata = pickle.loads(told.metadata)  # of this pool
        return RemoteCore(engine, number, metadata, told.providers, told.max_batch_rows, told.slots)

    def heard(self, message: EngineUp | EngineDown) -> None:
        """The supervisor says so."""
        engine = self._engines.get(message.engine)
        if engine is None:
            return
        if isinstance(message, EngineDown):
            engine.down(message.reason)
            return
        task = asyncio.get_running_loop().create_task(engine.up(), name=f"connect to engine {message.engine}")
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
