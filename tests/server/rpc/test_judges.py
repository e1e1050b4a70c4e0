"""Other HTTP/2 stacks against a real server: nghttp2, curl, Node, Go, Python. Those not installed are left out."""

import json
import os
import shutil
import socket
import subprocess
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import h2.settings
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb

HERE = Path(__file__).parents[2]
SERVICE = "/inference.GRPCInferenceService"
GRPC = ["-H", "content-type: application/grpc", "-H", "te: trailers"]


def tool(name):
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, check=False, timeout=50, **options)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout.decode(errors="replace")


def message(rows=1):
    """A length-prefixed infer request for the model `mlp`."""
    x = np.full((rows, 64), 0.5, np.float32)
    made = pb.ModelInferRequest(model_name="mlp", raw_input_contents=[x.tobytes()])
    made.inputs.add(name="x", datatype="FP32", shape=x.shape)
    data = made.SerializeToString()
    return b"\0" + len(data).to_bytes(4, "big") + data


@pytest.fixture
def frame(tmp_path):
    file = tmp_path / "frame"
    file.write_bytes(message())
    return str(file)


@pytest.mark.parametrize("shape", [("-c1", "-m1"), ("-c8", "-m16"), ("-c2", "-m100", "-w10", "-W10")], ids=" ".join)
def test_h2load(server, frame, shape):
    """The last one has windows of 1 KiB."""
    url = f"http://{server.grpc_url}{SERVICE}/ModelInfer"
    said = run(tool("h2load"), *shape, "-t1", "-n2000", "-d", frame, *GRPC, url)
    assert "2000 succeeded, 0 failed, 0 errored, 0 timeout" in said
    assert "status codes: 2000 2xx" in said


def test_nghttp(server, frame):
    said = run(
        tool("nghttp"), "-v", "-d", frame, "-H", ":method: POST", *GRPC, f"http://{server.grpc_url}{SERVICE}/ModelInfer"
    )
    assert "grpc-status: 0" in said


def test_curl(server, tmp_path, frame):
    url = f"http://{server.grpc_url}{SERVICE}/ModelInfer"
    body = tmp_path / "body"
    heads = run(
        tool("curl"),
        "-s",
        "--http2-prior-knowledge",
        "-D",
        "-",
        "-o",
        str(body),
        *GRPC,
        "--data-binary",
        f"@{frame}",
        url,
    )
    assert "HTTP/2 200" in heads
    assert "grpc-status: 0" in heads
    assert pb.ModelInferResponse.FromString(body.read_bytes()[5:]).model_name == "mlp"
    plain = run(tool("curl"), "-s", "--http2-prior-knowledge", "-D", "-", f"http://{server.grpc_url}/")
    assert "HTTP/2 415" in plain


def test_grpc_js(server):
    """Needs @grpc/grpc-js, found by NODE_PATH: a script that infers, fails, streams and cancels."""
    node = tool("node")
    if subprocess.run([node, "-e", "require('@grpc/grpc-js')"], capture_output=True, check=False).returncode:
        pytest.skip("@grpc/grpc-js is not installed where NODE_PATH says")
    said = json.loads(run(node, str(HERE / "grpc_js_client.js"), server.grpc_url, "", "mlp", env={**os.environ}))
    assert said == {
        "live": "0801",
        "answers": 1,
        "code": 5,
        "details": "model 'nothing' is not found",
        "unknown": 12,
        "stream": 0,
        "got": 300,
        "cancelled": 1,
    }


def test_grpcurl(server):
    said = run(tool("grpcurl"), "-plaintext", "-d", '{"name":"mlp"}', server.grpc_url, f"{SERVICE[1:]}/ModelMetadata")
    assert json.loads(said)["name"] == "mlp"


class H2:
    """A client by python-h2, which refuses what is not RFC 9113's."""

    def __init__(self, server, **settings):
        self.socket = socket.create_connection(("127.0.0.1", server.grpc_port), timeout=10)
        self.connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.connection.initiate_connection()
        if settings:
            self.connection.update_settings(
                {getattr(h2.settings.SettingCodes, name): at for name, at in settings.items()}
            )
        self.events = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self):
        self.socket.sendall(self.connection.data_to_send())

    def open(self, method="ModelInfer"):
        stream = self.connection.get_next_available_stream_id()
        head = [(":method", "POST"), (":scheme", "http"), (":path", f"{SERVICE}/{method}"), (":authority", "here")]
        self.connection.send_headers(stream, [*head, ("content-type", "application/grpc"), ("te", "trailers")])
        return stream

    def until(self, kind, count=1):
        """Read until there are `count` events of a kind. Windows are opened as their data is read."""
        while sum(isinstance(each, kind) for each in self.events) < count:
            self.send()
            data = self.socket.recv(65536)
            assert data, "the server has closed"
            for event in self.connection.receive_data(data):
                self.events.append(event)
                if isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
                    self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        return [each for each in self.events if isinstance(each, kind)]

    def data(self, stream):
        parts = [
            each.data for each in self.events if isinstance(each, h2.events.DataReceived) and each.stream_id == stream
        ]
        return b"".join(parts)


@pytest.mark.parametrize("window", [65_535, 1, 100])
def test_python_h2(server, window):
    with H2(server, INITIAL_WINDOW_SIZE=window) as client:
        streams = [client.open() for _ in range(20)]
        for stream in streams:
            client.connection.send_data(stream, message(), end_stream=True)
        ended = client.until(h2.events.StreamEnded, 20)
        assert sorted(each.stream_id for each in ended) == streams
        assert {client.data(stream)[5:] for stream in streams} == {client.data(streams[0])[5:]}
        assert pb.ModelInferResponse.FromString(client.data(streams[0])[5:]).model_name == "mlp"


def test_python_h2_that_resets_what_it_begins_is_ended_and_others_are_served(server):
    with H2(server) as hostile, H2(server) as other:
        stream = other.open()
        other.send()
        for _ in range(3000):
            hostile.connection.reset_stream(hostile.open())
        hostile.send()
        (end,) = hostile.until(h2.events.ConnectionTerminated)
        assert end.error_code == h2.errors.ErrorCodes.ENHANCE_YOUR_CALM
        other.connection.send_data(stream, message(), end_stream=True)
        other.until(h2.events.StreamEnded)
        assert pb.ModelInferResponse.FromString(other.data(stream)[5:]).model_name == "mlp"


def test_messages_larger_than_every_window_pass_both_ways(server):
    with H2(server) as client:
        client.connection.increment_flow_control_window(1 << 20)
        stream, data = client.open(), message(rows=2000)
        client.send()
        at = 0
        while at < len(data):
            room = min(client.connection.local_flow_control_window(stream), 16_384, len(data) - at)
            if room:
                client.connection.send_data(stream, data[at : at + room], end_stream=at + room == len(data))
                at += room
                client.send()
            else:
                seen = sum(isinstance(each, h2.events.WindowUpdated) for each in client.events)
                client.until(h2.events.WindowUpdated, seen + 1)
        client.until(h2.events.StreamEnded)
        assert pb.ModelInferResponse.FromString(client.data(stream)[5:]).outputs[0].shape[0] == 2000
