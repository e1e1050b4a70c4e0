"""An engine and its replicas in one event loop, over a real socket and real shared memory, with executors to hold.

`Pair` plays the supervisor: `die` is what SIGKILL looks like from outside, since nothing of the engine runs after it.
"""

import asyncio
import contextlib

import numpy as np
from server_fakes import Held, metadata_of

from batcher.batcher import Batcher
from batcher.decide import Limits
from batcher.entry import Entry
from batcher.timer import Timer
from executor.link.wire import listen
from headrace.config import ModelConfig
from headrace.counters import ModelCounters
from headrace.errors import LoadFailed
from headrace.models import ModelId
from model_repo.spec import VersionSpec
from server.core import Core
from server.engine.client import Engine
from server.engine.gate import Gate
from server.engine.guest import welcome
from server.engine.remote import RemoteCore

ROWS = 8
ID = ModelId("echo", 1)


class Asked(Entry):
    """An entry that keeps what became of it."""

    __slots__ = ("outcome",)

    def __init__(self, value=0.0, rows=1, key=()):
        inputs = {"x": np.full((rows, 2), value, np.float32)}
        super().__init__(inputs, rows, key, asyncio.get_running_loop().time())
        self.outcome = None

    def deliver(self, outcome):
        assert self.outcome is None
        self.outcome = outcome


class Mortal(Held):
    def __init__(self, pair):
        super().__init__()
        self.pair = pair

    async def run(self, inputs):
        if self.pair.deadly in inputs["x"]:
            self.pair.dying.set()
            await asyncio.Event().wait()
        return await super().run(inputs)


class Pair:
    def __init__(self, directory):
        self.path = directory / "engine"
        self.executors = []
        self.batchers = []
        self.broken = set()
        self.replicas = []
        self.needed = []
        self.deadly = None
        """The value of x that kills: `dying` is set, and what runs never ends."""
        self.deadly_load = None
        """The model whose load kills, likewise."""
        self.dying = asyncio.Event()
        self._life = None

    async def start(self):
        """The engine is up, and its replicas hear of it when they connect."""
        self._life = asyncio.create_task(self._live())
        while not self.path.exists():  # noqa: ASYNC110 - the engine of the same loop makes it
            await asyncio.sleep(0.001)

    async def _live(self):
        self.gate, self._guests = Gate(), []
        with contextlib.closing(listen(self.path)) as listening:
            async with asyncio.TaskGroup() as tasks:
                await welcome(listening, self._load, self.gate, tasks, self._guests.append)

    async def die(self):
        await asyncio.sleep(0.01)  # who has just connected is in
        self.path.unlink()
        for guest in self._guests:
            guest.wire._lost = lambda: None  # the dead hear of nothing
            guest.wire.close()
        for replica in self.replicas:
            await until(lambda replica=replica: replica._wire is None)
        self._life.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._life

    async def _load(self, spec):
        if spec.id == self.deadly_load:
            self.dying.set()
            await asyncio.Event().wait()
        if spec.id in self.broken:
            raise LoadFailed(f"{spec.id} is broken")
        executor, metadata = Mortal(self), metadata_of(spec.id)
        self.executors.append(executor)
        counters = ModelCounters(ROWS)
        batcher = Batcher(
            spec.id, self.gate.watched(executor), Timer(Limits(ROWS, 0.0), 1), ROWS, 16, counters, max_queue_bytes=1000
        )
        batcher.start()
        self.batchers.append(batcher)
        return Core(metadata, ("CPUExecutionProvider",), ROWS, batcher, executor, counters)

    async def replica(self):
        """A replica that is connected."""
        engine = Engine("an engine", self.path, self.needed.append)
        await engine.up()
        self.replicas.append(engine)
        return engine

    async def version(self, engine, id=ID):
        number, told = await engine.load(VersionSpec(id, self.path, ModelConfig(), "print", {}))
        return RemoteCore(engine, number, metadata_of(id), told.providers, told.max_batch_rows, told.slots)


def paired(directory, scenario):
    """Run `scenario(pair)` with the engine up."""

    async def main():
        pair = Pair(directory)
        async with asyncio.timeout(20):
            await pair.start()
            await scenario(pair)
            for executor in pair.executors:
                executor.gate.set()
            await pair.die()

    asyncio.run(main())


async def until(condition):
    """Let the loop turn until `condition()`; the scenario's deadline ends it if that never comes."""
    while not condition():  # noqa: ASYNC110 - what is waited for is in another place of the same loop
        await asyncio.sleep(0.001)
