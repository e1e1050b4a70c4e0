"""`headrace serve` as its operator sees it."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import onnx_models
import pytest
from live import serving

EXAMPLES = str(Path(__file__).parents[2] / "examples" / "models")
DIGITS = Path(EXAMPLES, "digits", "example.json").read_bytes()
INFER = "/v2/models/digits/infer"


class Client(threading.Thread):
    """Sends verified requests over one kept connection until told to stop, or until the server says it closes."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port = port
        self.right = 0
        self.wrong = []
        self.broken = 0
        self.stop = threading.Event()
        self.start()

    def run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        while not self.stop.is_set():
            try:
                connection.request("POST", INFER, DIGITS)
                answer = connection.getresponse()
                body = answer.read()
            except ConnectionRefusedError:
                break  # not accepted, hence not lost
            except (OSError, http.client.HTTPException):
                self.broken += 1
                connection.close()
                continue
            if answer.status == 200 and json.loads(body)["outputs"][0]["data"] == [7]:
                self.right += 1
            else:
                self.wrong.append(body)
        connection.close()


def headrace(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "server", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | environment,
    )


def test_what_is_printed_can_be_pasted_and_is_right():
    with serving(EXAMPLES, replicas=2) as server:
        line = server.wait_for(r"try +(curl .*)\n")[1].replace("localhost", "127.0.0.1")
        answer = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
        assert json.loads(answer.stdout)["outputs"][0]["data"] == [7]
        assert "/docs" in server.log.text


def test_a_killed_replica_comes_back_and_only_its_own_connections_notice():
    with serving(EXAMPLES, replicas=2) as server:
        clients = [Client(server.http_port) for _ in range(4)]
        _until(lambda: all(client.right > 20 for client in clients))
        pid = _a_replica(server)
        os.kill(pid, signal.SIGKILL)
        server.wait_for(r"replica \d is back after")
        before = [client.right for client in clients]
        _until(lambda: all(client.right > count + 20 for client, count in zip(clients, before, strict=True)))
        for client in clients:
            client.stop.set()
            client.join()
        assert not any(client.wrong for client in clients)
        assert sum(client.broken for client in clients) <= 4, "each client has one connection"
        total = sum(client.right for client in clients)
        stats = json.loads(server.get("/v2/models/digits/stats"))["model_stats"][0]
        assert stats["inference_count"] >= total, "counts of the dead replica are kept"


def test_sigterm_under_load_loses_no_accepted_request():
    with serving(EXAMPLES, replicas=2) as server:
        clients = [Client(server.http_port) for _ in range(6)]
        _until(lambda: all(client.right > 20 for client in clients))
        server.process.send_signal(signal.SIGTERM)
        for client in clients:
            client.join(30)
        assert not any(client.wrong for client in clients)
        assert sum(client.broken for client in clients) == 0


def test_only_the_named_models_are_loaded_in_explicit_mode():
    with serving(EXAMPLES, "--model-control-mode", "explicit", "--load-model", "digits") as server:
        connection = http.client.HTTPConnection(server.url)
        connection.request("POST", "/v2/repository/index")
        index = json.loads(connection.getresponse().read())
        connection.close()
        assert [row["name"] for row in index if row["state"] == "READY"] == ["digits"]


def test_a_new_version_is_followed_in_poll_mode(tmp_path):
    onnx_models.save(onnx_models.mlp(), tmp_path, "mlp", 1)
    with serving(tmp_path, "--model-control-mode", "poll") as server:
        onnx_models.save(onnx_models.mlp(), tmp_path, "mlp", 2)
        server.wait_for(r"mlp/2 is ready")
        server.wait_for(r"mlp/1 is unloaded")
        assert json.loads(server.get("/v2/models/mlp"))["versions"] == ["2"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("serve",), "nothing to serve"),
        (("serve", "/no/such/folder"), "/no/such/folder is not a folder"),
        (("serve", EXAMPLES, "--http-port", "99999"), "'http_port'"),
        (("serve", EXAMPLES, "--replicas", "0"), "replicas"),
        (("serve", EXAMPLES, "--load-model", "digits"), "explicit"),
        (("serve", EXAMPLES, "--config", "/no/such/file"), "/no/such/file"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_2(arguments, says):
    result = headrace(*arguments)
    assert result.returncode == 2
    assert says in result.stderr
    assert "Traceback" not in result.stderr


def test_a_flag_beats_the_environment_which_beats_the_file(tmp_path):
    file = tmp_path / "headrace.yaml"
    file.write_text("http_port: 70001\nlog_format: xml\n")
    said = headrace("serve", EXAMPLES, "--config", str(file)).stderr
    assert "70001" in said
    assert "'xml'" in said
    file.write_text("http_port: 1\n")
    said = headrace("serve", EXAMPLES, "--config", str(file), HEADRACE_HTTP_PORT="70002").stderr
    assert "70002" in said
    said = headrace("serve", EXAMPLES, "--http-port", "70003", HEADRACE_HTTP_PORT="70002").stderr
    assert "70003" in said


def test_an_unknown_key_names_the_nearest_one(tmp_path):
    file = tmp_path / "headrace.yaml"
    file.write_text("htp_port: 1\n")
    assert "did you mean 'http_port'" in headrace("serve", EXAMPLES, "--config", str(file)).stderr


def _a_replica(server):
    for pid in server.replica_pids():
        if "server.pool" in Path(f"/proc/{pid}/cmdline").read_text():
            return pid
    raise AssertionError("no replica")


def _until(true, deadline_s=60):
    end = time.monotonic() + deadline_s
    while not true():
        assert time.monotonic() < end
        threading.Event().wait(0.01)
