"""A real gRPC front end over the real data plane and batcher, with models that need no ONNX Runtime."""

import asyncio
import contextlib
import inspect
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio

from batcher.batcher import Batcher
from batcher.decide import Limits
from batcher.priorities import Priorities
from batcher.timer import Timer
from headrace.config import ModelConfig, SafeReload
from headrace.datatypes import Datatype
from headrace.errors import LoadFailed
from headrace.models import ModelId, ModelMetadata, TensorSpec
from model_repo.manager import Manager
from model_repo.spec import VersionSpec
from server.check import RequestCheck
from server.core import Core
from server.dataplane import DataPlane
from server.pool.editor import Editor
from server.rpc.front import GrpcFront
from server.servable import Servable
from server.statistics import REFUSALS, Statistics
from server.trial import Trial


class Mirror:
    """Every input `name` comes back as `out_name`, once `gate` is open. `error` makes it fail instead."""

    slots = 1

    def __init__(self):
        self.gate = asyncio.Event()
        self.gate.set()
        self.entered = asyncio.Event()
        self.error = None

    async def run(self, inputs):
        self.entered.set()
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return {f"out_{name}": array for name, array in inputs.items()}

    async def close(self):
        pass


def one(datatype, shape, name="x", labels=()):
    return (TensorSpec(name, datatype, shape),), (TensorSpec(f"out_{name}", datatype, shape, labels=labels),)


MODELS = {
    ModelId("mirror", 1): (*one(Datatype.FP32, (-1, -1), labels=("cat", "dog", "eel")), True),
    ModelId("mirror", 3): (*one(Datatype.FP32, (-1, -1), labels=("cat", "dog", "eel")), True),
    ModelId("alone", 1): (*one(Datatype.FP32, (-1,)), False),
    ModelId("pair", 1): (
        (TensorSpec("a", Datatype.INT32, (-1, 2)), TensorSpec("b", Datatype.BYTES, (-1, 1))),
        (TensorSpec("out_a", Datatype.INT32, (-1, 2)), TensorSpec("out_b", Datatype.BYTES, (-1, 1))),
        True,
    ),
    **{ModelId(f"mirror_{kind.wire}", 1): (*one(kind, (-1, -1)), True) for kind in Datatype},
}


class Served:
    """What a test sees of the server: its port, its models' executors, its readiness."""

    def __init__(self, directory, max_body_bytes):
        self.executors = {}
        self.ready = True
        self.statistics = Statistics(directory, 0)
        self.models = Manager(self._load)
        self.plane = DataPlane(self.models, self.statistics.open(REFUSALS, 1))
        self.front = self.another_front(max_body_bytes)
        self.port = 0

    @contextlib.asynccontextmanager
    async def running(self, directory):
        ids = [*MODELS, ModelId("broken", 1)]
        self.wanted = {id: VersionSpec(id, directory / "model.onnx", ModelConfig(), "a", {}) for id in ids}
        self.models.want(self.wanted)
        running = asyncio.create_task(self.models.run())
        await self.models.settled()
        try:
            async with self.listening(self.front) as self.port:
                yield self
        finally:
            for executor in self.executors.values():
                executor.gate.set()
            await self.front.drain(0)
            await self.models.close()
            await running

    @staticmethod
    @contextlib.asynccontextmanager
    async def listening(front, host="127.0.0.1", tls=None):
        """The port on which `front` takes connections, until the end of the block."""
        server = await asyncio.get_running_loop().create_server(front.connection, host, 0, ssl=tls)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()

    def another_front(self, max_body_bytes=1 << 20, **options):
        """One more, over the same models."""
        return GrpcFront(
            self.plane,
            self.statistics,
            lambda: self.ready,
            Editor("none", Path(), None),
            max_body_bytes=max_body_bytes,
            keep_alive_s=60.0,
            receive_timeout_s=60.0,
            **options,
        )

    @property
    def url(self):
        return f"127.0.0.1:{self.port}"

    def client(self):
        """A blocking client; for tests that are not coroutines."""
        return tritonclient.grpc.InferenceServerClient(self.url)

    def aio_client(self):
        return tritonclient.grpc.aio.InferenceServerClient(self.url)

    def executor(self, model="mirror", version=3):
        return self.executors[ModelId(model, version)]

    def cell(self, cell, model="mirror", version=3):
        return dict(self.models.servables())[ModelId(model, version)].counters.cells[cell]

    async def until(self, condition):
        """Let the loop turn until `condition()`; the limit on every scenario ends it if that never comes."""
        while not condition():  # noqa: ASYNC110 - what is waited for is in another place of the same loop
            await asyncio.sleep(0)

    def refused(self):
        return self.statistics.totals()[REFUSALS].failures()

    async def _load(self, spec):
        if spec.id not in MODELS:
            raise LoadFailed("the file is not a model")
        inputs, outputs, batchable = MODELS[spec.id]
        metadata = ModelMetadata(spec.id, "onnxruntime_onnx", inputs, outputs, batchable)
        executor = self.executors[spec.id] = Mirror()
        rows = 8 if batchable else 1
        counters = self.statistics.open(spec.id, rows)
        batcher = Batcher(
            spec.id, executor, Timer(Limits(rows, 0.0), executor.slots), rows, 64, counters, batched=batchable
        )
        batcher.start()
        providers = ("CPUExecutionProvider",)
        return Servable(
            metadata=metadata,
            config=ModelConfig(),
            model_file="model.onnx",
            providers=providers,
            max_batch_rows=rows,
            check=RequestCheck(metadata),
            batcher=batcher,
            executor=executor,
            counters=counters,
            trial=Trial(counters, SafeReload(), lambda reason: None),
            priorities=Priorities(spec.id, 3, 2, 1.0),
            describe=Core(metadata, providers, rows, batcher, executor, counters).describe,
        )


@pytest.fixture
def serve(tmp_path):
    """`serve(scenario)` runs `scenario(served)` against a server: a coroutine on its loop, a function in a thread."""
    counters = tmp_path / "counters"
    counters.mkdir()

    def run(scenario, max_body_bytes=1 << 20):
        async def main():
            async with Served(counters, max_body_bytes).running(tmp_path) as served, asyncio.timeout(20):
                if inspect.iscoroutinefunction(scenario):
                    await scenario(served)
                else:
                    await asyncio.to_thread(scenario, served)

        asyncio.run(main())

    return run


def tensor(values, name="x", datatype="FP32"):
    """A tritonclient input."""
    array = np.asarray(values)
    made = tritonclient.grpc.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array)
    return made


@pytest.fixture
def row():
    """`row(1, 2)` is the input of one row of two floats."""
    return lambda *values: [tensor(np.array([values], np.float32))]


@pytest.fixture
def tensor_of():
    return tensor
