"""TLS on the gRPC port: HTTP/2 by ALPN, or nothing; files that are no certificate are named."""

import asyncio
import ssl

import grpc
import pytest
from certificate import certificate
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from headrace.config import ServerConfig
from headrace.errors import ConfigError
from server import preflight
from server.rpc.tls import tls_context


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """(certificate, key) for localhost."""
    return certificate(tmp_path_factory.mktemp("tls"))


def test_clients_with_tls_are_served_and_others_are_not(serve, files):
    async def scenario(served):
        front = served.another_front()
        trusted = grpc.ssl_channel_credentials(files[0].read_bytes())
        async with served.listening(front, tls=tls_context(*files)) as port:
            async with grpc.aio.secure_channel(f"localhost:{port}", trusted) as channel:
                stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
                assert (await stub.ServerLive(pb.ServerLiveRequest())).live
            async with grpc.aio.insecure_channel(f"localhost:{port}") as channel:
                stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
                with pytest.raises(grpc.aio.AioRpcError):
                    await stub.ServerLive(pb.ServerLiveRequest(), timeout=5)
        await front.drain(0)

    serve(scenario)


def test_a_client_that_does_not_choose_http2_is_closed(serve, files):
    async def scenario(served):
        front = served.another_front()
        context = ssl.create_default_context(cafile=files[0])
        async with served.listening(front, tls=tls_context(*files)) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
            with pytest.raises((ConnectionError, ssl.SSLError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)
            writer.close()
        await front.drain(0)

    serve(scenario)


def refused(*files):
    with pytest.raises(ConfigError) as refusal:
        tls_context(*files)
    return str(refusal.value)


def test_a_file_that_is_missing_or_wrong_is_named(files, tmp_path):
    certificate, key = files
    gone = tmp_path / "gone.pem"
    assert tls_context(None, None) is None
    assert refused(certificate, None).startswith("grpc_tls_key: ")
    assert refused(None, key).startswith("grpc_tls_certificate: ")
    assert refused(gone, key) == f"grpc_tls_certificate: there is no file {gone}"
    assert refused(certificate, gone) == f"grpc_tls_key: there is no file {gone}"
    assert refused(key, key).startswith(f"grpc_tls_certificate {key} and grpc_tls_key {key}: ")


def test_it_is_said_before_anything_starts(tmp_path):
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "1" / "model.onnx").touch()
    with pytest.raises(ConfigError, match="grpc_tls_key: TLS needs"):
        preflight.check(ServerConfig(model_repository=(tmp_path,), grpc_tls_certificate=tmp_path / "cert.pem"))
