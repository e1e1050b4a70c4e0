"""`headrace serve` as its operator sees it."""

import http.client
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import onnx_models
import pytest
from live import serving

from headrace import __version__

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
        assert stats["inference_stats"]["success"]["count"] >= total, "counts of the dead replica are kept"


def test_sigterm_under_load_loses_no_accepted_request():
    with serving(EXAMPLES, replicas=2) as server:
        clients = [Client(server.http_port) for _ in range(6)]
        _until(lambda: all(client.right > 20 for client in clients))
        server.process.send_signal(signal.SIGTERM)
        for client in clients:
            client.join(30)
        assert not any(client.wrong for client in clients)
        assert sum(client.broken for client in clients) == 0


def test_with_a_lag_ready_is_false_first_and_who_is_connected_is_sent_away_with_an_answer():
    with serving(EXAMPLES, "--drain-lag-s", "3") as server:
        kept = http.client.HTTPConnection(server.url, timeout=20)
        assert _status(kept, "GET", "/v2/health/ready") == (200, False)
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("not ready any more")
        seen = []
        while not seen or not seen[-1][1]:
            seen.append(_status(kept, "POST", INFER, DIGITS))  # the same connection until it is told to close
        assert {status for status, _ in seen} == {200}
        late = http.client.HTTPConnection(server.url, timeout=20)
        assert _status(late, "GET", "/v2/health/ready") == (503, True)
        assert _status(late, "POST", INFER, DIGITS)[0] == 200, "it still accepts"
        assert "draining, at most" not in server.log.text
        assert server.process.wait(20) == 0


def test_sagemakers_addresses_answer_on_a_real_server(tmp_path):
    shutil.copytree(Path(EXAMPLES, "digits"), tmp_path / "digits")
    with serving(tmp_path) as server:
        connection = http.client.HTTPConnection(server.url, timeout=20)
        connection.request("GET", "/ping")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"")
        connection.request("POST", "/invocations", DIGITS, {"content-type": "application/json"})
        assert json.loads(connection.getresponse().read())["outputs"][0]["data"] == [7]
        connection.close()


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
        (("serve",), "nothing to serve: name a folder of models"),
        (("serve", "/no/such/folder"), "model repository /no/such/folder does not exist"),
        (("serve", EXAMPLES, "--http-port", "99999"), "--http-port: expected at most 65535, found '99999'"),
        (("serve", EXAMPLES, "--replicas", "0"), "--replicas: expected at least 1 or 'auto', found '0'"),
        (("serve", EXAMPLES, "--load-model", "digits"), "needs --model-control-mode explicit"),
        (("serve", EXAMPLES, "--config", "/no/such/file"), "configuration file /no/such/file cannot be read"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_2(arguments, says):
    result = headrace(*arguments)
    assert result.returncode == 2
    assert result.stderr.startswith("headrace: ")
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert not result.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("serv",), "Did you mean 'serve'?"),
        (("serve", EXAMPLES, "--replica", "2"), "--replicas"),
        (("serve", EXAMPLES, "--http_port", "1"), "--http-port"),
        (("serve", EXAMPLES, "--replicas"), "--replicas"),
        (("--vers",), "--version"),
    ],
)
def test_misspelt_word_is_refused_with_the_right_one(arguments, says):
    result = headrace(*arguments, COLUMNS="200")
    assert result.returncode == 2
    assert says in result.stderr
    assert "Traceback" not in result.stderr


def test_without_a_command_the_help_is_shown():
    said = headrace()
    assert "serve" in said.stdout + said.stderr
    assert headrace("-h").returncode == 0


def test_version_is_a_line():
    result = headrace("--version")
    assert (result.returncode, result.stdout) == (0, f"headrace {__version__}\n")


@pytest.mark.parametrize("flag", ["--http-port", "--grpc-port"])
def test_port_that_is_taken_is_named_and_exit_2(flag):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        free = {"--http-port": "0", "--grpc-port": "0"} | {flag: str(port)}
        result = headrace("serve", EXAMPLES, "--host", "127.0.0.1", *itertools.chain(*free.items()))
    assert result.returncode == 2
    assert f"127.0.0.1:{port} is already in use by another process" in result.stderr
    assert "Traceback" not in result.stderr


def test_without_onnx_runtime_it_says_what_to_install():
    """As `pip install .` without an extra leaves it."""
    without = (
        "import sys; sys.modules['onnxruntime'] = None\n"
        f"sys.argv = ['headrace', 'serve', {EXAMPLES!r}]\n"
        "from server.cli import main; main()"
    )
    result = subprocess.run([sys.executable, "-c", without], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 2
    assert "pip install '.[cpu]'" in result.stderr
    assert result.stderr.count("\n") == 1


def test_what_will_disappoint_is_said_at_the_start(tmp_path):
    with serving(tmp_path) as server:
        assert f"model repository {tmp_path} has no models" in server.log.text


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


def _status(connection, method, path, body=None):
    """(status, whether the connection is closed after it)."""
    connection.request(method, path, body)
    answer = connection.getresponse()
    answer.read()
    return answer.status, answer.getheader("connection") == "close"


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
