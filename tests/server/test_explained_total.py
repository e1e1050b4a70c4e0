"""The parts of a latency sum to what the server really spent: against clocks that are read around the whole of it."""

import asyncio
import re
import time
from contextlib import asynccontextmanager
from statistics import median
from typing import ClassVar

import grpc
import numpy as np
import onnx_models
import pytest
from live import serving
from raw_http import Connection, request
from server_fakes import Front, Plane
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from executor.host import Host
from headrace.batching import BatchingLimits
from headrace.config import Instances, ModelConfig
from headrace.models import ModelId
from model_repo.spec import VersionSpec
from server.pool.editor import Editor
from server.rest.shortcut import ShortCut
from server.rpc import front
from server.rpc.protocol import Wire
from server.servable import load_servable

WIDTH = 512
BODY = {
    "inputs": [{"name": "h0", "shape": [1, WIDTH], "datatype": "FP32", "data": [0.5] * WIDTH}],
    "parameters": {"explain": True},
}
REQUESTS = 15
CONFIG = ModelConfig(instances=Instances(threads=1), batching=BatchingLimits(max_batch_rows=2))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A model of some 10 ms."""
    folder = tmp_path_factory.mktemp("total") / "models"
    onnx_models.save(onnx_models.slow(layers=150, width=WIDTH), folder, "slow")
    (folder / "slow" / "config.yaml").write_text("{instances: {threads: 1}, batching: {max_batch_rows: 2}}")
    return folder


class RealPlane(Plane):
    """With a real executor behind it."""

    def __init__(self, directory, file):
        super().__init__(directory)
        self._file = file

    @asynccontextmanager
    async def running(self):
        id = ModelId("slow", 1)
        self.wanted = {id: VersionSpec(id, self._file, CONFIG, "print", {})}
        self.want()
        running = asyncio.create_task(self.models.run())
        await self.models.settled()
        try:
            yield self
        finally:
            await self.models.close()
            await running

    def want(self, **routing):
        self.models.want(self.wanted, [], routing)

    async def _load(self, spec):
        return await load_servable(spec, Host(), self.statistics.open, self.objections.append)


def parts(server_timing):
    found = {name: float(ms) for name, ms in re.findall(r"(\w+)(?:;desc=\"[^\"]*\")?;dur=([\d.]+)", server_timing)}
    del found["total"]
    return found


def assert_close(told, spent):
    """Never more than was spent, and but for the odd pause of the process within 5 % of it."""
    assert len(told) == len(spent) == REQUESTS
    assert min(spent) > 0.001, "the model is too quick to tell"
    assert all(said <= all_in_all for said, all_in_all in zip(told, spent, strict=True))
    assert median(said / all_in_all for said, all_in_all in zip(told, spent, strict=True)) > 0.95


class Watched(ShortCut):
    """Reads the clock before a request's bytes are looked at, and when those of its answer have been written."""

    spans: ClassVar[list[float]] = []

    def connection_made(self, transport):
        super().connection_made(transport)
        write = transport.write

        def written(data):
            write(data)
            self.spans.append(time.perf_counter() - self.came)

        transport.write = written

    def data_received(self, data):
        self.came = time.perf_counter()
        super().data_received(data)


def test_over_rest_the_parts_sum_to_what_passes_from_socket_to_socket(models, tmp_path, monkeypatch):
    monkeypatch.setattr("server_fakes.ShortCut", Watched)
    Watched.spans.clear()
    told = []

    async def scenario():
        async with (
            RealPlane(tmp_path, models / "slow" / "1" / "model.onnx").running() as plane,
            Front(plane, tmp_path, max_body_bytes=1 << 20).listening() as rest,
            rest.client() as client,
        ):
            for _ in range(REQUESTS):
                client.send(request("/v2/models/slow/infer", BODY))
                answer = await client.answer()
                assert answer.status == 200
                told.append(sum(parts(answer.headers["server-timing"]).values()) / 1e3)

    asyncio.run(scenario())
    assert_close(told, Watched.spans)


def message():
    found = pb.ModelInferRequest(model_name="slow", raw_input_contents=[np.full(WIDTH, 0.5, np.float32).tobytes()])
    found.inputs.add(name="h0", datatype="FP32", shape=[1, WIDTH])
    found.parameters["explain"].bool_param = True
    return found


class WatchedWire(Wire):
    """Reads the clock before the last of a call's bytes are looked at, and when those of its answer are there."""

    __slots__ = ("came",)
    spans: ClassVar[list[float]] = []

    def data_received(self, data):
        before, now = self.whole(), time.perf_counter()
        super().data_received(data)
        if self.whole() > before:
            self.came = now

    def whole(self):
        return sum(each.ended for each in self.connection.streams.values())

    def flush(self):
        if b"grpc-status" in b"".join(self.connection.outbox.pieces):
            self.spans.append(time.perf_counter() - self.came)
        super().flush()


def test_over_grpc_the_parts_sum_to_what_passes_from_bytes_to_bytes(models, tmp_path, monkeypatch):
    monkeypatch.setattr(front, "Wire", WatchedWire)
    WatchedWire.spans.clear()
    told = []

    async def scenario():
        async with RealPlane(tmp_path, models / "slow" / "1" / "model.onnx").running() as plane:
            grpc_front = front.GrpcFront(
                plane.data,
                plane.statistics,
                lambda: True,
                Editor("none", tmp_path, None),
                max_body_bytes=1 << 20,
                keep_alive_s=75.0,
                receive_timeout_s=60.0,
            )
            server = await asyncio.get_running_loop().create_server(grpc_front.connection, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                infer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer
                for _ in range(REQUESTS):
                    call = infer(message())
                    await call
                    trailers = dict(await call.trailing_metadata())
                    told.append(sum(parts(trailers["server-timing"]).values()) / 1e3)
            server.close()
            await grpc_front.drain(1.0)

    asyncio.run(scenario())
    assert_close(told, WatchedWire.spans)


def test_a_client_of_a_server_in_another_process_waits_longer_than_that_by_the_ways_there_and_back(models):
    """Hardly a twentieth of the quickest requests where nobody else has the cores; here most of it will do."""
    shares = []
    with serving(models) as server, Connection(server.http_port) as connection:
        for _ in range(2 * REQUESTS):
            sent = time.perf_counter()
            connection.send(request("/v2/models/slow/infer", BODY))
            answer = connection.answer()
            waited = time.perf_counter() - sent
            told = sum(parts(answer.headers["server-timing"]).values()) / 1e3
            assert told <= waited
            shares.append(told / waited)
    assert max(shares) > 0.5
