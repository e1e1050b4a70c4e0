"""Sockets, limits, and clients that misbehave."""

import asyncio
import gzip
import socket

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc
from tritonclient.utils import InferenceServerException

INFER = "/inference.GRPCInferenceService/ModelInfer"


def test_bytes_that_are_no_message_are_the_clients_error(serve):
    async def scenario(served):
        async with grpc.aio.insecure_channel(served.url) as channel:
            for data in (b"\xff", b"\x0a\x7f", b"\x0a\x01\xff"):  # the last is a name that is not UTF-8
                with pytest.raises(grpc.aio.AioRpcError) as refusal:
                    await channel.unary_unary(INFER)(data)
                assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
                assert "inference.ModelInferRequest" in refusal.value.details()

    serve(scenario)


def test_unknown_method_is_unimplemented(serve):
    async def scenario(served):
        async with grpc.aio.insecure_channel(served.url) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await channel.unary_unary("/inference.GRPCInferenceService/Nothing")(b"")
        assert refusal.value.code() is grpc.StatusCode.UNIMPLEMENTED

    serve(scenario)


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\0" * 100, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100]
)
def test_garbage_on_the_port_closes_that_connection_only(serve, row, garbage):
    def scenario(served):
        client = served.client()
        with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
            connection.sendall(garbage)
            try:
                while connection.recv(4096):
                    pass
            except ConnectionResetError:
                pass
        assert client.infer("mirror", row(1)).as_numpy("out_x").tolist() == [[1.0]]

    serve(scenario)


def test_oversize_message_is_resource_exhausted_and_the_connection_lives(serve, row, tensor_of):
    def scenario(served):
        client = served.client()
        with pytest.raises(InferenceServerException) as refusal:
            client.infer("mirror", [tensor_of(np.zeros((1, 100_000), np.float32))])
        assert refusal.value.status() == "StatusCode.RESOURCE_EXHAUSTED"
        assert "100000" in refusal.value.message()
        assert client.infer("mirror", row(1)).as_numpy("out_x").tolist() == [[1.0]]

    serve(scenario, max_body_bytes=100_000)


def test_messages_past_four_megabytes_pass_both_ways(serve, tensor_of):
    def scenario(served):
        sent = np.ones((1, 2_000_000), np.float32)
        assert served.client().infer("mirror", [tensor_of(sent)]).as_numpy("out_x").sum() == 2_000_000

    serve(scenario, max_body_bytes=10_000_000)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_requests_infer(serve, row, algorithm):
    def scenario(served):
        answer = served.client().infer("mirror", row(*[1.0] * 1000), compression_algorithm=algorithm)
        assert answer.as_numpy("out_x").sum() == 1000

    serve(scenario)


def test_compressed_message_counts_as_what_it_unpacks_to(serve, tensor_of):
    def scenario(served):
        inputs = [tensor_of(np.zeros((1, 1_000_000), np.float32))]
        with pytest.raises(InferenceServerException) as refusal:
            served.client().infer("mirror", inputs, compression_algorithm="gzip")
        assert refusal.value.status() == "StatusCode.RESOURCE_EXHAUSTED"

    assert len(gzip.compress(b"\0" * 4_000_000)) < 100_000
    serve(scenario, max_body_bytes=100_000)


def test_drain_answers_what_is_under_way(serve, row):
    async def scenario(served):
        executor = served.executor()
        executor.gate.clear()
        async with served.aio_client() as client:
            call = asyncio.create_task(client.infer("mirror", row(1)))
            await executor.entered.wait()
            draining = asyncio.create_task(served.front.drain(10))
            executor.gate.set()
            assert (await call).as_numpy("out_x").tolist() == [[1.0]]
            await draining

    serve(scenario)


def test_drain_cancels_what_outlasts_its_grace(serve, row):
    async def scenario(served):
        executor = served.executor()
        executor.gate.clear()
        async with served.aio_client() as client:
            call = asyncio.create_task(client.infer("mirror", row(1)))
            await executor.entered.wait()
            await served.front.drain(0)
            with pytest.raises(InferenceServerException):
                await call

    serve(scenario)


def test_clients_on_ipv6_are_served(serve):
    async def scenario(served):
        front = served.another_front()
        async with served.listening(front, "::1") as port, grpc.aio.insecure_channel(f"[::1]:{port}") as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            assert (await stub.ServerLive(pb.ServerLiveRequest())).live
        await front.drain(0)

    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    serve(scenario)
