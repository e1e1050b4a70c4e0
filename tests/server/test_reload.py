"""Hot reload over all replicas of a real server, while somebody asks. Version N of a model answers N times x."""

import http.client
import json
import os
import resource
import shutil
import signal
import threading
from pathlib import Path

import numpy as np
import onnx_models
import pytest
from asking import BODY, INFER, REPLICAS, add, asked, index, times, until
from live import serving


def size_of(pid):
    """Bytes of its address space."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    return pages * resource.getpagesize()


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
        until(lambda: set(index(server)) == {("m", "3")})  # nothing of the others stays
    assert [asker.factors for asker in askers] == [[1, 2, 3, 4, 3, 100]] * len(askers)
    assert not [asker.trouble for asker in askers if asker.trouble]


def test_a_version_and_a_model_that_are_renamed_are_served_under_their_new_names(server, repository):
    with asked(server) as askers:
        add(repository, 4, factor=100)
        until(lambda: set(index(server)) == {("m", "4")})
        (repository / "m" / "4").rename(repository / "m" / "5")
        until(lambda: set(index(server)) == {("m", "5")})
    assert [(asker.trouble, asker.factors) for asker in askers] == [([], [1, 100])] * len(askers)
    (repository / "m").rename(repository / "n")
    until(lambda: index(server) == {("n", "5"): ("READY", "")})
    connection = http.client.HTTPConnection(server.url, timeout=20)
    for path, status in ((INFER, 404), (INFER.replace("/m/", "/n/"), 200)):
        connection.request("POST", path, BODY)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status
    connection.close()


def test_a_version_that_is_broken_is_reported_and_the_old_one_goes_on(server, repository):
    with asked(server) as askers:
        onnx_models.save(b"this is no model", repository, "m", 2)
        server.wait_for(r"m/2 is not published: replica \d could not load it")
        until(lambda: "not an ONNX model" in index(server).get(("m", "2"), ("", ""))[1])
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
