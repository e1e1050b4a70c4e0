"""Hot reload over all replicas of a real server, while somebody asks. Version N of a model answers N times x."""

import contextlib
import http.client
import json
import os
import resource
import shutil
import signal
import threading
import time
from pathlib import Path

import numpy as np
import onnx_models
import pytest
from live import DEADLINE_S, serving

INFER = "/v2/models/m/infer"
BODY = json.dumps({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 10]}]})
REPLICAS = 2


def times(factor, ballast=0):
    x, y = (onnx_models.tensor(name, "FP32", ("batch", 2)) for name in "xy")
    node = onnx_models.helper.make_node("Mul", ["x", "factor"], ["y"])
    constants = [onnx_models.constant("factor", factor), onnx_models.constant("ballast", np.zeros(ballast // 4))]
    return onnx_models.model([node], [x], [y], constants)


def add(repository, version, factor=None, ballast=0):
    """As people should: the whole file at once."""
    fresh = onnx_models.save(times(factor or version, ballast), repository.parent, "fresh", version)
    (repository / "m" / str(version)).mkdir(parents=True, exist_ok=True)
    fresh.replace(repository / "m" / str(version) / "model.onnx")


class Asker(threading.Thread):
    """Asks over one connection, hence one replica. `factors` is what the answers were, without repetitions."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        self.factors = []
        self.asked = 0
        self.trouble = []
        self.stop = threading.Event()
        self.start()

    def run(self):
        while not self.stop.is_set():
            try:
                self.connection.request("POST", INFER, BODY)
                answer = self.connection.getresponse()
                body = json.loads(answer.read())
                one, ten = body["outputs"][0]["data"]
                assert ten == 10 * one, body
                assert body["model_version"] == str(int(one)) or one > 99, body
            except Exception as error:
                self.trouble.append(repr(error))
                self.connection.close()
                continue
            self.asked += 1
            if self.factors[-1:] != [one]:
                self.factors.append(one)


@contextlib.contextmanager
def asked(server, connections=4):
    """Somebody asks during the block, on every replica, and has nothing to complain about."""
    askers = [Asker(server.http_port) for _ in range(connections)]
    try:
        yield askers
    finally:
        for asker in askers:
            asker.stop.set()
        for asker in askers:
            asker.join(30)
            asker.connection.close()


def until(condition):
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, "it did not come to that in time"
        threading.Event().wait(0.01)


def size_of(pid):
    """Bytes of its address space."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def index(server):
    connection = http.client.HTTPConnection(server.url)
    connection.request("POST", "/v2/repository/index")
    rows = json.loads(connection.getresponse().read())
    connection.close()
    return {(row["name"], row.get("version", "")): (row["state"], row.get("reason", "")) for row in rows}


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "models"
    add(folder, 1)
    return folder


@pytest.fixture
def server(repository):
    # Without a cache each replica loads for itself: a test takes the memory for that from one of them.
    with serving(repository, "--model-control-mode", "poll", "--cache-max-bytes", "0", replicas=REPLICAS) as running:
        yield running


def test_versions_that_come_and_go_are_served_one_after_the_other_and_no_request_fails(server, repository):
    with asked(server) as askers:
        for version in (2, 3, 4):
            add(repository, version)
            until(lambda version=version: all(asker.factors[-1:] == [version] for asker in askers))
        shutil.rmtree(repository / "m" / "4")
        until(lambda: all(asker.factors[-1] == 3 for asker in askers))
        add(repository, 3, factor=100)  # in place
        until(lambda: all(asker.factors[-1] == 100 for asker in askers))
    assert [asker.factors for asker in askers] == [[1, 2, 3, 4, 3, 100]] * len(askers)
    assert not [asker.trouble for asker in askers if asker.trouble]


def test_a_version_that_is_broken_is_reported_and_the_old_one_goes_on(server, repository):
    with asked(server) as askers:
        onnx_models.save(b"this is no model", repository, "m", 2)
        server.wait_for(r"m/2 is not published: replica \d could not load it")
        until(lambda: index(server).get(("m", "2"), ("", ""))[1])
        state, reason = index(server)["m", "2"]
        assert state == "UNAVAILABLE"
        assert "not an ONNX model" in reason
        add(repository, 2)  # mended
        until(lambda: all(asker.factors[-1:] == [2] for asker in askers))
    assert [asker.factors for asker in askers] == [[1, 2]] * len(askers)
    assert not any(asker.trouble for asker in askers)


def test_a_copy_in_progress_is_not_served_and_is_when_it_is_whole(server, repository):
    whole = times(2)
    path = repository / "m" / "2" / "model.onnx"
    path.parent.mkdir()
    with asked(server) as askers, path.open("wb") as file:
        file.write(whole[: len(whole) // 2])
        file.flush()
        server.wait_for(r"m/2 is not published")  # it paused for longer than a copy does: tried, and found wanting
        file.write(whole[len(whole) // 2 :])
        file.close()
        until(lambda: all(asker.factors[-1:] == [2] for asker in askers))
    assert [asker.factors for asker in askers] == [[1, 2]] * len(askers)
    assert not any(asker.trouble for asker in askers)


def test_a_typo_in_the_configuration_is_told_and_changes_nothing(server, repository):
    with asked(server) as askers:
        (repository / "m" / "config.yaml").write_text("batchin: {}\n")
        server.wait_for(r"unknown key 'batchin'")
        until(lambda: any("batchin" in reason for _, reason in index(server).values()))
        (repository / "m" / "config.yaml").write_text("batching: {max_batch_rows: 3}\n")
        until(lambda: json.loads(server.get("/v2/models/m/config"))["max_batch_size"] == 3)
    assert [asker.factors for asker in askers] == [[1]] * len(askers)
    assert not any(asker.trouble for asker in askers)


def test_a_configmap_that_is_swapped_by_its_link_is_followed(tmp_path):
    repository = tmp_path / "models"
    for version in (1, 2):
        onnx_models.save(times(version), repository / "m", f"..{version}", version)
    (repository / "m" / "..data").symlink_to("..1")
    (repository / "m" / "1").symlink_to("..data/1")
    with serving(repository, "--model-control-mode", "poll") as server:
        (repository / "m" / "2").symlink_to("..data/2")
        (repository / "m" / "..new").symlink_to("..2")
        (repository / "m" / "..new").replace(repository / "m" / "..data")
        (repository / "m" / "1").unlink()
        server.wait_for(r"m/2 is ready")
        server.wait_for(r"m/1 is unloaded")


def test_a_version_that_one_replica_cannot_load_is_served_by_none(server, repository):
    with asked(server) as askers:
        until(lambda: all(asker.asked > 5 for asker in askers))
        victim = min(server.booted_pids())
        memory = resource.prlimit(victim, resource.RLIMIT_AS)
        resource.prlimit(victim, resource.RLIMIT_AS, (size_of(victim) + (32 << 20), memory[1]))
        add(repository, 2, ballast=100 << 20)
        server.wait_for(r"m/2 is not published: replica \d could not load it")
        resource.prlimit(victim, resource.RLIMIT_AS, memory)
        until(lambda: index(server).get(("m", "2"), ("", ""))[0] == "UNAVAILABLE")
        add(repository, 3)
        until(lambda: all(asker.factors[-1:] == [3] for asker in askers))
    assert [asker.factors for asker in askers] == [[1, 3]] * len(askers)
    assert not any(asker.trouble for asker in askers)


def test_a_replica_without_a_file_descriptor_left_catches_up_when_it_has_one(server, repository):
    victim = min(server.booted_pids())
    files = resource.prlimit(victim, resource.RLIMIT_NOFILE)
    resource.prlimit(victim, resource.RLIMIT_NOFILE, (1, files[1]))
    add(repository, 2)
    server.wait_for(r"cannot read what is wanted: Too many open files")
    resource.prlimit(victim, resource.RLIMIT_NOFILE, files)
    with asked(server) as askers:
        until(lambda: all(asker.factors[-1:] == [2] for asker in askers))
    assert not any(asker.trouble for asker in askers)


def test_a_replica_that_is_killed_while_the_others_wait_for_it_holds_nobody_up(server, repository):
    victim = max(server.booted_pids())
    os.kill(victim, signal.SIGSTOP)  # so that it cannot prepare
    add(repository, 2)
    server.wait_for(r"m/2: loaded")  # by the other
    assert "m/2 is ready" not in server.log.text
    os.kill(victim, signal.SIGKILL)
    server.wait_for(r"is back after")
    with asked(server) as askers:
        until(lambda: all(asker.asked > 5 for asker in askers))
    assert [asker.factors for asker in askers] == [[2]] * len(askers)


def test_replicas_that_are_killed_while_versions_change_all_end_up_with_the_last(server, repository):
    for version in range(2, 7):
        add(repository, version)
        if version % 2:
            server.wait_for(rf"m/{version}: loaded")
        os.kill(min(server.booted_pids()), signal.SIGKILL)
        until(lambda: len(server.booted_pids()) == REPLICAS)
    with asked(server) as askers:
        until(lambda: all(asker.factors[-1:] == [6] for asker in askers))


def test_a_version_that_is_deleted_in_use_answers_what_it_has_begun(server, repository):
    rows = np.ones((1_300, 2), np.float32)  # many batches each, so that one is always under way
    tensor = {"name": "x", "shape": rows.shape, "datatype": "FP32", "data": rows.ravel().tolist()}
    body = json.dumps({"inputs": [tensor]})
    seen = [[] for _ in range(3)]

    def ask(answers):
        connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=20)
        while not (2 in answers and answers[-1] == 1):
            connection.request("POST", INFER, body)
            answer = connection.getresponse()
            document = json.loads(answer.read())
            answers.append(document["outputs"][0]["data"][0] if answer.status == 200 else document)
        connection.close()

    add(repository, 2)
    threads = [threading.Thread(target=ask, args=(answers,)) for answers in seen]
    for thread in threads:
        thread.start()
    until(lambda: all(2 in answers for answers in seen))
    shutil.rmtree(repository / "m" / "2")
    for thread in threads:
        thread.join(30)
    assert {str(answer) for answers in seen for answer in answers} == {"1.0", "2.0"}
