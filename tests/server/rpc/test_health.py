"""The standard health service, as an orchestrator sees it."""

import asyncio

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from server.rpc import health

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


def question(service=""):
    return health_pb2.HealthCheckRequest(service=service)


@pytest.mark.parametrize("service", health.SERVICES)
def test_check_follows_readiness(serve, service):
    def scenario(served):
        with grpc.insecure_channel(served.url) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            assert stub.Check(question(service)).status == SERVING
            served.ready = False
            assert stub.Check(question(service)).status == NOT_SERVING

    serve(scenario)


def test_check_of_an_unknown_service_is_not_found(serve):
    def scenario(served):
        with grpc.insecure_channel(served.url) as channel, pytest.raises(grpc.RpcError) as refusal:
            health_pb2_grpc.HealthStub(channel).Check(question("mail"))
        assert refusal.value.code() is grpc.StatusCode.NOT_FOUND
        assert "'mail'" in refusal.value.details()

    serve(scenario)


def test_watch_ends_when_the_server_drains(serve):
    async def scenario(served):
        async with grpc.aio.insecure_channel(served.url) as channel:
            call = health_pb2_grpc.HealthStub(channel).Watch(question())
            assert (await call.read()).status == SERVING
            last = asyncio.create_task(call.read())  # grpc.aio drops messages that nobody reads before the end
            await served.front.drain(10)
            assert (await last).status == NOT_SERVING
            assert await call.read() is grpc.aio.EOF

    serve(scenario)


def test_watch_of_an_unknown_service_stays_open(serve):
    async def scenario(served):
        async with grpc.aio.insecure_channel(served.url) as channel:
            call = health_pb2_grpc.HealthStub(channel).Watch(question("mail"))
            assert (await call.read()).status == UNKNOWN
            assert not call.done()
            call.cancel()

    serve(scenario)


def test_watch_tells_every_change_once(serve):
    async def scenario(served):
        served.front._health._poll_s = 0.0
        async with grpc.aio.insecure_channel(served.url) as channel:
            call = health_pb2_grpc.HealthStub(channel).Watch(question())
            for ready in (True, False, True):
                served.ready = ready
                assert (await call.read()).status == (SERVING if ready else NOT_SERVING)
            call.cancel()

    serve(scenario)
