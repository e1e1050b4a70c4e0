"""Models that sleep until somebody asks, on real replicas, asked by every protocol. Model fN answers N times x."""

import contextlib
import gzip
import http.client
import json
import os
import random
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx_models
import pytest
import tritonclient.grpc
import tritonclient.http
from asking import REPLICAS, index, times, until
from live import serving
from typer.testing import CliRunner

from server import cli

ASLEEP = "asleep: loaded when a request comes"
BODY = json.dumps({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 10]}]}).encode()


def put(repository, factor, version=1, ballast=0):
    """As people should: the whole file at once."""
    fresh = onnx_models.save(times(factor, ballast), repository.parent, "fresh", version)
    folder = repository / f"f{factor % 100}" / str(version)
    folder.mkdir(parents=True, exist_ok=True)
    fresh.replace(folder / "model.onnx")


@pytest.fixture
def repository(tmp_path):
    for factor in range(1, 6):
        put(tmp_path / "models", factor)
    return tmp_path / "models"


@contextlib.contextmanager
def connected(server):
    connection = http.client.HTTPConnection(server.url, timeout=60)
    try:
        yield connection
    finally:
        connection.close()


def infer(connection, model, body=BODY, **headers):
    """The factor, or the status and what was said."""
    connection.request("POST", f"/v2/models/{model}/infer", body, headers)
    answer = connection.getresponse()
    document = json.loads(answer.read())
    if answer.status != 200:
        return answer.status, document["error"]
    one, ten = document["outputs"][0]["data"]
    assert ten == 10 * one
    return one


def ask(server, model, body=BODY, **headers):
    with connected(server) as connection:
        return infer(connection, model, body, **headers)


def states(server):
    """By model: its state in the index, or what it waits for."""
    return {name: reason if reason == ASLEEP else state for (name, _), (state, reason) in index(server).items()}


def loads(server, model):
    """How often one replica has loaded it."""
    return server.log.text.count(f" {model}/1 is ready")


def row():
    tensor = tritonclient.grpc.InferInput("x", [1, 2], "FP32")
    tensor.set_data_from_numpy(np.array([[1, 10]], np.float32))
    return [tensor]


def over_grpc(server, model):
    with contextlib.closing(tritonclient.grpc.InferenceServerClient(server.grpc_url)) as client:
        return client.infer(model, row()).as_numpy("y")[0, 0]


def over_a_stream(server, model, count=3):
    got, done = [], threading.Event()

    def heard(result, error):
        got.append(error or result.as_numpy("y")[0, 0])
        if len(got) == count:
            done.set()

    with contextlib.closing(tritonclient.grpc.InferenceServerClient(server.grpc_url)) as client:
        client.start_stream(heard)
        for _ in range(count):
            client.async_stream_infer(model, row())
        assert done.wait(30)
    (answer,) = set(got)
    return answer


def raw(server, model):
    """Nothing but the tensor's bytes: to be read only by who knows the model."""
    headers = {"inference-header-content-length": "0", "content-type": "application/octet-stream"}
    with connected(server) as connection:
        body = np.array([[1, 10]], np.float32).tobytes()
        connection.request("POST", f"/v2/models/{model}/infer", body, headers)
        answer = connection.getresponse()
        data = answer.read()
        assert answer.status == 200, data
        tensors = data[int(answer.getheader("inference-header-content-length")) :]
        return np.frombuffer(tensors, np.float32)[0] if tensors else json.loads(data)["outputs"][0]["data"][0]


def compressed(server, model):
    return ask(server, model, gzip.compress(BODY), **{"content-encoding": "gzip"})


def metadata(server, model):
    document = json.loads(server.get(f"/v2/models/{model}"))
    return document["inputs"][0]["shape"]


def test_a_lazy_server_is_ready_at_once_and_the_first_requests_share_one_load(repository):
    with serving(repository, "--lazy", "true", replicas=REPLICAS) as server:
        assert set(states(server).values()) == {ASLEEP}
        assert json.loads(server.get("/v2/models/f1/ready"))["ready"]
        with contextlib.closing(tritonclient.grpc.InferenceServerClient(server.grpc_url)) as client:
            assert client.is_model_ready("f2")
            assert not client.is_model_ready("nosuch")
        waiting = CliRunner().invoke(
            cli.whole(), ["models", "wait", "f1", "--url", f"http://{server.url}", "--timeout", "9"]
        )
        assert waiting.exit_code == 0
        assert set(states(server).values()) == {ASLEEP}, "to be asked whether it is ready woke it"
        kinds = [ask, compressed, over_grpc, over_a_stream, raw]
        with ThreadPoolExecutor(20) as clients:
            answers = list(clients.map(lambda kind: kind(server, "f2"), kinds * 4))
        assert answers == [2.0] * 20
        assert loads(server, "f2") == 1
        assert states(server) == {**dict.fromkeys(("f1", "f3", "f4", "f5"), ASLEEP), "f2": "READY"}

        assert metadata(server, "f3") == [-1, 2]
        assert json.loads(server.get("/v2/models/f4/config"))["name"] == "f4"
        with contextlib.closing(tritonclient.grpc.InferenceServerClient(server.grpc_url)) as client:
            assert client.get_model_metadata("f5").name == "f5"
        metrics = server.get("/metrics").decode()
        assert 'headrace_model_versions{state="ready"} 4\n' in metrics
        assert 'headrace_model_versions{state="asleep"} 1\n' in metrics
        assert ask(server, "nosuch") == (404, "model 'nosuch' is not found")
        assert ask(server, "f1/versions/7")[0] == 404
        assert "asleep" not in server.log.text


def test_more_models_than_may_be_loaded_are_all_answered_and_never_too_many_are(repository):
    onnx_models.save(b"this is no model", repository, "broken", 1)
    most = 2
    flags = ("--max-loaded-models", str(most), "--model-control-mode", "poll")
    seen, wrong, over = [], [], threading.Event()
    with serving(repository, *flags, replicas=REPLICAS) as server:
        assert sum(state == "READY" for state in states(server).values()) <= most

        def look():
            while not over.is_set():
                seen.append(sum(state == "READY" for state in states(server).values()))

        def client(seed):
            pick = random.Random(seed)
            with connected(server) as connection:
                for _ in range(10):
                    factor = pick.randint(1, 5)
                    answer = infer(connection, f"f{factor}")
                    if answer != factor:
                        wrong.append((factor, answer))

        looking = threading.Thread(target=look)
        looking.start()
        with ThreadPoolExecutor(4) as clients:
            list(clients.map(client, range(4)))
            status, reason = ask(server, "broken")
            assert status == 503
            assert "not an ONNX model" in reason
            list(clients.map(client, range(4, 8)))
        over.set()
        looking.join()
        assert wrong == []
        assert max(seen) <= most
        assert loads(server, "f1") > 1

        put(repository, 101)
        put(repository, 102)  # one of them, at least, sleeps
        until(lambda: (ask(server, "f1"), ask(server, "f2")) == (101, 102))


def test_two_models_that_take_turns_in_one_place_are_both_answered_and_one_without_a_place_is_refused(repository):
    most = 200
    put(repository, 3, ballast=1 << 10)
    sizes = [(repository / name / "1" / "model.onnx").stat().st_size for name in ("f1", "f2", "f3")]
    assert max(sizes[:2]) <= most < min(sum(sizes[:2]), sizes[2])
    answers = {1: [], 2: []}

    def client(factor):
        with connected(server) as connection:
            answers[factor] += [infer(connection, f"f{factor}") for _ in range(10)]

    with serving(repository, "--max-loaded-bytes", str(most), "--lazy", "true", replicas=REPLICAS) as server:
        with ThreadPoolExecutor(4) as clients:
            list(clients.map(client, (1, 2, 1, 2)))
        assert answers == {1: [1.0] * 20, 2: [2.0] * 20}
        status, reason = ask(server, "f3")
        assert status == 503
        assert "bytes, more than all models together may (max_loaded_bytes, 200)" in reason


def test_a_replica_that_is_killed_while_a_model_wakes_holds_nobody_up(repository):
    with serving(repository, "--lazy", "true", replicas=REPLICAS) as server:
        victim = server.booted_pids()[-1]  # not the one that speaks for all in the log
        os.kill(victim, signal.SIGSTOP)
        with ThreadPoolExecutor(8) as clients:
            answers = [clients.submit(_unless_cut_off, server, "f1") for _ in range(8)]
            server.wait_for(r"f1/1: loaded in")
            assert not any(answer.done() for answer in answers)
            os.kill(victim, signal.SIGKILL)
            assert 1.0 in [answer.result(60) for answer in answers]
        server.wait_for("is back after")
        assert {ask(server, "f1") for _ in range(8)} == {1.0}
        assert states(server)["f1"] == "READY"
        assert states(server)["f2"] == ASLEEP


def _unless_cut_off(server, model):
    """None if the connection ended with its replica."""
    try:
        return ask(server, model)
    except OSError:
        return None


def test_a_load_request_wakes_and_makes_room_and_an_unload_is_no_sleep(repository):
    flags = ("--model-control-mode", "explicit", "--max-loaded-models", "1", "--lazy", "true", "--load-model", "*")
    with serving(repository, *flags, replicas=REPLICAS) as server:  # noqa: SIM117 - a server, and what it is asked
        with contextlib.closing(tritonclient.http.InferenceServerClient(server.url)) as client:
            for name in ("f1", "f2", "f1"):
                client.load_model(name)
                assert states(server)[name] == "READY"
            with ThreadPoolExecutor(10) as clients:  # what is asked for and what is to be loaded take turns
                asked = [clients.submit(ask, server, f"f{1 + at % 5}") for at in range(10)]
                loaded = [clients.submit(_load, server, f"f{1 + at % 5}") for at in range(5)]
                assert [each.result(60) for each in asked] == [1.0, 2.0, 3.0, 4.0, 5.0] * 2
                assert [each.result(60) for each in loaded] == [200] * 5
            client.unload_model("f1")
            assert states(server)["f1"] == "UNAVAILABLE"
            assert ask(server, "f1")[0] == 503
            assert ask(server, "f2") == 2.0


def _load(server, model):
    with connected(server) as connection:
        connection.request("POST", f"/v2/repository/models/{model}/load")
        return connection.getresponse().status


def test_a_wait_ends_with_the_requests_timeout_and_with_the_server(repository):
    with serving(repository, "--lazy", "true", replicas=REPLICAS) as server, ThreadPoolExecutor(1) as clients:
        victim = server.booted_pids()[-1]
        os.kill(victim, signal.SIGSTOP)  # so that nothing is published
        late = json.dumps({**json.loads(BODY), "parameters": {"timeout": 100_000}}).encode()
        assert ask(server, "f1", late) == (504, "the request's timeout of 100 ms passed before model 'f1' was loaded")
        answer = clients.submit(ask, server, "f1")
        server.wait_for(r"f1/1: loaded in")
        server.process.send_signal(signal.SIGTERM)
        assert answer.result(30) == (503, "model 'f1' is not ready: the server is shutting down")
        os.kill(victim, signal.SIGCONT)
