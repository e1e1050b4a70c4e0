"""Real replicas that share an engine, which gathers their batches, and is killed."""

import http.client
import itertools
import json
import os
import signal
import threading
from pathlib import Path

import numpy as np
import onnx_models
import psutil
import pytest
from asking import BODY, INFER, REPLICAS, add, asked, index, until
from live import serving

POISON = 666
FATAL_RUNS = f"""
import os, signal, sys

if "server.engine" in sys.orig_argv:
    from executor.onnx_executor import OnnxExecutor

    harmless = OnnxExecutor._call

    def call(self, runner, inputs):
        if any((array == {POISON}).any() for array in inputs.values()):
            os.kill(os.getpid(), signal.SIGKILL)
        return harmless(self, runner, inputs)

    OnnxExecutor._call = call
"""
FATAL_LOADS = """
import os, signal, sys

if "server.engine" in sys.orig_argv:
    from executor import whole

    whole.open_session = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
"""


def shared(folder):
    add(folder, 1)
    (folder / "m" / "config.yaml").write_text("placement: shared\n")
    return folder


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    return shared(tmp_path_factory.mktemp("shared") / "models")


@pytest.fixture(scope="module")
def server(repository):
    with serving(repository, "--model-control-mode", "poll", replicas=REPLICAS) as running:
        yield running


def engine_pids(server):
    commands = {pid: command_of(pid) for pid in server.replica_pids()}
    return [pid for pid, command in commands.items() if b"server.engine" in command]


def command_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it has ended meanwhile
        return b""


def post(server, values=(1, 10), **parameters):
    body = json.loads(BODY) | {"parameters": parameters}
    body["inputs"][0]["data"] = values
    connection = http.client.HTTPConnection(server.url, timeout=20)
    connection.request("POST", INFER, json.dumps(body))
    answer = connection.getresponse()
    document = json.loads(answer.read())
    connection.close()
    return answer.status, document


def killed_and_back(server):
    (engine,) = engine_pids(server)
    os.kill(engine, signal.SIGKILL)
    until(lambda: engine_pids(server) not in ([], [engine]))


def test_one_engine_serves_all_replicas_and_says_what_it_does(server):
    with asked(server) as askers:
        until(lambda: all(asker.asked > 50 for asker in askers))
        assert len(engine_pids(server)) == 1
    assert not any(asker.trouble for asker in askers)
    document = json.loads(server.get("/v2/models/m/batcher"))
    assert document["engine"] == "cpu m"
    assert document["controller"] == "adaptive"
    (row,) = json.loads(server.get("/v2/models/m/stats"))["model_stats"]
    answered = row["inference_stats"]["success"]["count"]
    assert answered > 100
    assert sum(batch["compute_infer"]["count"] * int(batch["batch_size"]) for batch in row["batch_stats"]) >= answered
    for _ in range(20):  # the engine is never told too late
        status, answer = post(server, explain=True)
        assert status == 200
        assert answer["parameters"]["headrace_batch_rows"] >= 1
    total = sum(us for name, us in answer["parameters"].items() if name.endswith("_us") and "total" not in name)
    assert total == pytest.approx(answer["parameters"]["headrace_total_us"], rel=0.05, abs=100)


def test_an_engine_that_is_killed_again_and_again_loses_no_request(server):
    with asked(server) as askers:
        for _ in range(3):
            before = [asker.asked for asker in askers]
            killed_and_back(server)
            until(lambda before=before: all(map(int.__lt__, before, (asker.asked for asker in askers))))
    assert [(asker.trouble, asker.factors) for asker in askers] == [([], [1])] * len(askers)
    kinds = [event["kind"] for event in json.loads(server.get("/v2/events"))["events"]]
    assert kinds.count("engine_lost") == 3


def test_a_replica_that_is_killed_leaves_the_engine_to_the_others(server):
    until(lambda: len(server.booted_pids()) == REPLICAS)
    (engine,) = engine_pids(server)
    for pid in server.booted_pids():
        os.kill(pid, signal.SIGKILL)
        server.wait_for(r"replica \d is back")
        assert post(server)[0] == 200
    assert engine_pids(server) == [engine]


def test_versions_come_and_go_in_an_engine_and_no_request_fails(server, repository):
    with asked(server) as askers:
        add(repository, 2)
        until(lambda: all(asker.factors[-1:] == [2] for asker in askers))
        add(repository, 2, factor=100)  # in place
        until(lambda: all(asker.factors[-1:] == [100] for asker in askers))
        (repository / "m" / "3").mkdir()
        (repository / "m" / "3" / "model.onnx").write_bytes(b"this is no model")
        until(lambda: "not an ONNX model" in index(server).get(("m", "3"), ("", ""))[1])
    assert [asker.factors for asker in askers] == [[1, 2, 100]] * len(askers)
    assert not any(asker.trouble for asker in askers)


def test_a_request_that_kills_engines_is_refused_and_takes_nobody_along(tmp_path, monkeypatch):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(FATAL_RUNS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    with serving(shared(tmp_path / "models"), replicas=REPLICAS) as server, asked(server) as askers:
        until(lambda: all(asker.asked > 10 for asker in askers))
        outcomes = []
        bad = [threading.Thread(target=lambda: outcomes.append(post(server, (POISON, 1)))) for _ in range(2)]
        for thread in bad:
            thread.start()
        for thread in bad:
            thread.join()
        assert [status for status, _ in outcomes] == [500, 500]
        assert all("two engines have died while they ran it" in answer["error"] for _, answer in outcomes)
        before = [asker.asked for asker in askers]
        until(lambda: all(map(int.__lt__, before, (asker.asked for asker in askers))))
    assert not any(asker.trouble for asker in askers)


def test_a_sharded_model_is_served_to_all_replicas_and_loses_no_request_when_its_processes_are_killed(tmp_path):
    repository = tmp_path / "models"
    onnx_models.save(in_layers(1), repository, "m", 1)
    (repository / "m" / "config.yaml").write_text("sharding: {devices: [cpu:0, cpu:1]}\n")
    with serving(repository, replicas=REPLICAS) as server, asked(server) as askers:
        until(lambda: all(asker.asked > 10 for asker in askers))
        (engine,) = engine_pids(server)
        stages = stage_pids(engine)
        assert len(stages) == 2
        for victim in (*stages, engine):
            os.kill(victim if victim == engine else stage_pids(engine)[stages.index(victim)], signal.SIGKILL)
            before = [asker.asked for asker in askers]
            until(lambda before=before: all(asker.asked > then + 1 for asker, then in zip(askers, before, strict=True)))
        until(lambda: not any(map(psutil.pid_exists, stages)))
    assert [(asker.trouble, asker.factors) for asker in askers] == [([], [1])] * len(askers)


def stage_pids(engine):
    children = psutil.Process(engine).children()
    return sorted(child.pid for child in children if b"executor.sharding" in command_of(child.pid))


def in_layers(factor):
    """As `asking.times`, in layers between which it can be cut."""
    x, y = (onnx_models.tensor(name, "FP32", ("batch", 2)) for name in "xy")
    names = ["x", "one", "two", "y"]
    nodes = [
        onnx_models.helper.make_node("MatMul", [given, f"w{made}"], [made]) for given, made in itertools.pairwise(names)
    ]
    weights = [onnx_models.constant(f"w{made}", np.eye(2) * (factor if made == "y" else 1)) for made in names[1:]]
    return onnx_models.model(nodes, [x], [y], weights)


def test_a_model_that_kills_its_engine_while_it_loads_is_reported_and_others_serve(tmp_path, monkeypatch):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(FATAL_LOADS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    repository = tmp_path / "models"
    add(repository, 1)
    (repository / "m").rename(repository / "n")
    with serving(shared(repository), replicas=REPLICAS) as server:
        state, reason = index(server)["m", "1"]
        assert state == "UNAVAILABLE"
        assert "2 engines have died while they loaded it" in reason
        assert index(server)["n", "1"] == ("READY", "")
