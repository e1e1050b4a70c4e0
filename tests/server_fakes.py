"""A data plane over real batchers and a real manager, with executors that tests can hold, in one event loop.

`Plane` is everything behind the front ends, `Front` the REST front end before it. Time passes by hand.
"""

import asyncio
import contextlib
from functools import partial

from raw_http import Answer

from batcher.batcher import Batcher
from batcher.decide import Limits
from batcher.priorities import Priorities
from batcher.timer import Timer
from headrace.config import ModelConfig
from headrace.datatypes import Datatype
from headrace.errors import LoadFailed
from headrace.models import ModelId, ModelMetadata, TensorSpec
from model_repo.found import Problem
from model_repo.manager import Manager
from model_repo.spec import VersionSpec
from server.check import RequestCheck
from server.core import Core
from server.dataplane import DataPlane
from server.metrics import PoolMetrics
from server.pool import journal
from server.pool.board import Board
from server.pool.editor import Editor
from server.recent import Recent
from server.rest.app import make_app
from server.rest.shortcut import ShortCut
from server.rest.site import Site
from server.servable import Servable
from server.statistics import REFUSALS, Statistics
from server.trial import Trial

NO_SUPERVISOR = None
"""In mode none nobody is asked to load anything."""
ROWS = 8
QUEUE_ROWS = 16


class Held:
    """y = x for every input x, once `gate` is open. `outcome` instead, if set: raised, or returned as it is."""

    slots = 1

    def __init__(self):
        self.gate = asyncio.Event()
        self.gate.set()
        self.entered = asyncio.Event()
        self.outcome = None
        self.runs = 0
        self.closed = False

    async def run(self, inputs):
        self.runs += 1
        self.entered.set()
        await self.gate.wait()
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome or {f"{name}_out": array for name, array in inputs.items()}

    async def close(self):
        self.closed = True


def metadata_of(id, datatype=Datatype.FP32, shape=(-1, 2), labels=()):
    inputs, outputs = (TensorSpec("x", datatype, shape),), (TensorSpec("x_out", datatype, shape, labels=labels),)
    return ModelMetadata(id, "onnxruntime_onnx", inputs, outputs, shape[:1] == (-1,))


MODELS = {
    id: metadata_of(id, *rest)
    for id, *rest in (
        (ModelId("echo", 1), Datatype.FP32, (-1, 2), ("cat", "dog")),
        (ModelId("echo", 3), Datatype.FP32, (-1, 2), ("cat", "dog")),
        (ModelId("half", 1), Datatype.FP16),
        (ModelId("text", 1), Datatype.BYTES, (-1, 1)),
        (ModelId("one", 1), Datatype.INT64, ()),
    )
}


class Plane:
    """`data` is the DataPlane; `executors` by model id."""

    def __init__(self, directory):
        self.directory = directory
        self.executors = {}
        self.objections = []
        self.statistics = Statistics(directory, 0)
        self.models = Manager(self._load)
        self.data = DataPlane(self.models, self.statistics.open(REFUSALS, 1))

    @contextlib.asynccontextmanager
    async def running(self):
        """Every model loaded; `broken` has failed to, `ghost` has a problem and no version."""
        wanted = [*MODELS, ModelId("broken", 1)]
        self.wanted = {id: self._spec(id) for id in wanted}
        self.want()
        running = asyncio.create_task(self.models.run())
        await self.models.settled()
        try:
            yield self
        finally:
            for executor in self.executors.values():
                executor.gate.set()
            await self.models.close()
            await running

    def want(self, **routing):
        """`echo=Routing(...)` is how requests choose among the versions of echo."""
        self.models.want(self.wanted, [Problem("ghost", None, "ghost has no versions")], routing)

    def _spec(self, id):
        return VersionSpec(id, self.directory / "model.onnx", ModelConfig(), "print", {})

    async def _load(self, spec):
        if spec.id not in MODELS:
            raise LoadFailed("the file is not a model")
        metadata = MODELS[spec.id]
        executor = self.executors[spec.id] = Held()
        rows = ROWS if metadata.batchable else 1
        counters = self.statistics.open(spec.id, rows)
        batcher = Batcher(
            spec.id,
            executor,
            Timer(Limits(rows, 0.0), executor.slots),
            rows,
            QUEUE_ROWS,
            counters,
            batched=metadata.batchable,
        )
        batcher.start()
        providers = ("CPUExecutionProvider",)
        return Servable(
            metadata=metadata,
            config=spec.config,
            model_file="model.onnx",
            providers=providers,
            max_batch_rows=rows,
            check=RequestCheck(metadata),
            batcher=batcher,
            executor=executor,
            counters=counters,
            trial=Trial(counters, spec.config.safe_reload, self.objections.append),
            priorities=Priorities(spec.id, 3, 2, 1.0),
            describe=Core(metadata, providers, rows, batcher, executor, counters).describe,
            recent=Recent(100, 1 << 20),
        )

    def executor(self, name="echo", version=3):
        return self.executors[ModelId(name, version)]

    def servable(self, name="echo", version=3):
        return dict(self.models.servables())[ModelId(name, version)]

    def cell(self, cell, name="echo", version=3):
        return self.servable(name, version).counters.cells[cell]

    def refused(self):
        return self.statistics.totals()[REFUSALS].failures()

    async def until(self, condition):
        """Let the loop turn until `condition()`; a deadline on the scenario ends it if that never comes."""
        while not condition():  # noqa: ASYNC110 - what is waited for is in another place of the same loop
            await asyncio.sleep(0)


class Front:
    """The REST front end over a `Plane` on a port of its own, in the loop of the test."""

    def __init__(
        self, plane, directory, max_body_bytes=10_000, receive_timeout_s=5.0, keep_alive_s=50.0, default_model=None
    ):
        board = Board.create(directory / "board", 1)
        self.ready = True
        self.plane = plane
        self.lost = 0
        app = make_app(
            plane.data,
            plane.statistics,
            PoolMetrics(plane.statistics, board),
            lambda: self.ready,
            Editor("none", directory, NO_SUPERVISOR),
            partial(journal.read, directory),
            max_body_bytes,
            default_model=default_model,
        )
        self.site = Site(
            plane.data,
            app,
            max_body_bytes=max_body_bytes,
            receive_timeout_s=receive_timeout_s,
            keep_alive_s=keep_alive_s,
        )
        self.site.tick(1000.0)

    @contextlib.asynccontextmanager
    async def listening(self):
        def one_less():
            self.lost += 1

        loop = asyncio.get_running_loop()
        listener = await loop.create_server(lambda: ShortCut(self.site, one_less), "127.0.0.1", 0)
        self.port = listener.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            listener.close()
            for connection in list(self.site.state.connections):
                connection.transport.abort()
            await self.plane.until(lambda: not self.site.state.connections)

    @contextlib.asynccontextmanager
    async def client(self):
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        try:
            yield client
        finally:
            client.writer.transport.abort()

    async def connection(self):
        """The server's side of the only connection."""
        await self.plane.until(lambda: self.site.state.connections)
        (connection,) = self.site.state.connections
        return connection

    def pass_time(self, seconds):
        """What the replica's sweeper does every second, at once."""
        now = self.site.now + seconds
        self.site.tick(now)
        for connection in list(self.site.state.connections):
            connection.sweep(now)


class Client:
    """Bytes out, answers in."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    def send(self, data):
        self.writer.write(data)

    async def answer(self):
        """The next answer."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        status = int(first.split(" ")[1])
        body = b"" if status == 100 else await self.reader.readexactly(int(headers["content-length"]))
        return Answer(status, headers, body)

    async def closed(self):
        """Wait until the server has closed; whether nothing else came."""
        try:
            return await self.reader.read() == b""
        except ConnectionResetError:
            return True
