"""Loading and unloading by request: real replicas, public clients, and somebody who asks meanwhile."""

import base64
import concurrent.futures
import contextlib
import http.client
import json
import os
import signal
from pathlib import Path

import grpc
import onnx_models
import pytest
import tritonclient.grpc
import tritonclient.http
from asking import BODY, INFER, REPLICAS, add, asked, index, times, until
from live import serving
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "models"
    add(folder, 1)
    return folder


@pytest.fixture
def server(repository):
    # Without a cache each replica loads for itself: a test takes the memory for that from one of them.
    flags = ("--model-control-mode", "explicit", "--cache-max-bytes", "0")
    with serving(repository, *flags, replicas=REPLICAS) as running:
        yield running


@pytest.fixture(params=["http", "grpc"])
def client(request, server):
    kind = tritonclient.http if request.param == "http" else tritonclient.grpc
    with contextlib.closing(
        kind.InferenceServerClient(server.url if kind is tritonclient.http else server.grpc_url)
    ) as client:
        yield client


def post(server, path, document=None):
    connection = http.client.HTTPConnection(server.url, timeout=60)
    connection.request("POST", path, json.dumps(document) if document is not None else b"")
    answer = connection.getresponse()
    body = json.loads(answer.read())
    connection.close()
    return answer.status, body


def answers(server, connections=8):
    """What as many new connections are told, hence every replica."""
    found = []
    for _ in range(connections):
        status, body = post(server, INFER, json.loads(BODY))
        found.append(body["outputs"][0]["data"][0] if status == 200 else status)
    return set(found)


def test_what_is_loaded_is_served_by_all_when_the_answer_comes_and_by_none_once_unloaded(server, client):
    assert answers(server) == {503}
    client.load_model("m")
    assert answers(server) == {1}
    client.unload_model("m", unload_dependents=True)
    assert answers(server) == {503}
    assert index(server) == {("m", ""): ("UNAVAILABLE", "not loaded")}
    client.unload_model("m")  # once more is no mistake


def test_a_load_takes_what_is_there_now_and_no_request_fails_meanwhile(server, repository):
    assert post(server, "/v2/repository/models/m/load") == (200, {"name": "m", "load": True})
    with asked(server) as askers:
        for version in (2, 3):
            add(repository, version)
            until(lambda: all(asker.asked > 3 for asker in askers))
            assert answers(server) == {version - 1}  # nobody has asked for the new one yet
            assert post(server, "/v2/repository/models/m/load")[0] == 200
            assert answers(server) == {version}
        post(server, "/v2/repository/models/m/load")  # of unchanged files
    assert [(asker.trouble, asker.factors) for asker in askers] == [([], [1, 2, 3])] * len(askers)


def test_only_the_model_that_is_named_is_looked_at(server, repository):
    post(server, "/v2/repository/models/m/load")
    add(repository, 2)
    onnx_models.save(onnx_models.mlp(), repository, "other")
    post(server, "/v2/repository/models/other/load")
    assert answers(server) == {1}
    assert index(server) == {("m", "1"): ("READY", ""), ("other", "1"): ("READY", "")}


def test_a_load_that_fails_says_why_and_the_old_version_goes_on(server, client, repository):
    client.load_model("m")
    broken = repository / "m" / "2" / "model.onnx"
    broken.parent.mkdir()
    broken.write_bytes(b"no model")
    with pytest.raises(InferenceServerException, match=r"m/2.*could not load"):
        client.load_model("m")
    assert answers(server) == {1}
    (repository / "m" / "config.yaml").write_text("batchin: {}")
    with pytest.raises(InferenceServerException, match="did you mean 'batching'"):
        client.load_model("m")
    assert answers(server) == {1}
    with pytest.raises(InferenceServerException, match="'nosuch' is not in the repository"):
        client.load_model("nosuch")
    with pytest.raises(InferenceServerException, match="'nosuch' is neither loaded nor in the repository"):
        client.unload_model("nosuch")
    assert ("nosuch", "") not in index(server)


def test_a_load_that_failed_is_tried_again_when_asked_although_no_file_has_changed(server, repository):
    victim = server.booted_pids()[0]
    add(repository, 1, ballast=64 << 20)
    size = int(Path(f"/proc/{victim}/statm").read_text().split()[0]) * 4096
    _limit(victim, size + (40 << 20))
    status, body = post(server, "/v2/repository/models/m/load")
    assert status == 400
    assert "could not load it" in body["error"]
    _limit(victim, -1)
    assert post(server, "/v2/repository/models/m/load")[0] == 200
    assert answers(server) == {1}


def _limit(pid, size):
    import resource

    resource.prlimit(pid, resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))


def test_a_configuration_that_comes_with_a_load_is_in_force_until_the_next(server, client, repository):
    add(repository, 2)
    client.load_model("m", config=json.dumps({"max_batch_size": 3, "versionPolicy": {"specific": {"versions": [1]}}}))
    assert answers(server) == {1}
    assert json.loads(server.get("/v2/models/m/config"))["max_batch_size"] == 3
    with pytest.raises(InferenceServerException, match=r"parameter config: .*sequence_batching"):
        client.load_model("m", config=json.dumps({"sequence_batching": {}}))
    with pytest.raises(InferenceServerException, match=r"parameter config: .*max_batch_sise"):
        client.load_model("m", config=json.dumps({"max_batch_sise": 3}))
    assert answers(server) == {1}
    client.load_model("m")
    assert answers(server) == {2}
    assert json.loads(server.get("/v2/models/m/config"))["max_batch_size"] > 3


def test_files_that_come_with_a_load_are_served_instead_of_the_repository(server, client):
    files = {"file:7/model.onnx": times(7)}
    for name in ("m", "nowhere_on_disk"):
        client.load_model(name, config="{}", files=files)
        assert index(server)[name, "7"] == ("READY", "")
    assert answers(server) == {7}
    victim = server.booted_pids()[0]
    os.kill(victim, signal.SIGKILL)
    server.wait_for("is back after")
    assert answers(server) == {7}  # the one that took its place included
    client.load_model("m")
    assert answers(server) == {1}
    with pytest.raises(InferenceServerException, match="is not in the repository"):
        client.load_model("nowhere_on_disk")
    assert index(server)["nowhere_on_disk", "7"] == ("READY", "")
    client.unload_model("nowhere_on_disk")
    assert ("nowhere_on_disk", "7") not in index(server)


def test_what_came_with_loads_is_removed_when_it_is_not_served_any_more(server, tmp_path):
    maps = Path(f"/proc/{server.booted_pids()[0]}/maps").read_text()
    folder = Path(next(line.split()[-1] for line in maps.splitlines() if line.endswith("/board"))).parent / "models"
    content = base64.b64encode(times(7)).decode()
    for _ in range(3):
        parameters = {"config": "{}", "file:7/model.onnx": content}
        assert post(server, "/v2/repository/models/m/load", {"parameters": parameters})[0] == 200
        bad = {"config": "{}", "file:8/model.onnx": base64.b64encode(b"broken").decode()}
        assert post(server, "/v2/repository/models/m/load", {"parameters": bad})[0] == 400
        assert len(list(folder.iterdir())) <= 2
    assert answers(server) == {7}
    post(server, "/v2/repository/models/m/unload")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "parameters", "words"),
    [
        ("m/load", {"file:1/model.onnx": "AAAA"}, "need the parameter config"),
        ("m/load", {"config": "{}", "file:1/model.onnx": "no base64!"}, "is not the base64 form"),
        ("m/load", {"config": "{}", "file:1/model.onnx": 7}, "is not the base64 form"),
        ("m/load", {"config": {}}, "as a JSON string"),
        ("m/load", {"config": "{"}, "parameter config"),
        ("m/load", {"config": " " * (1 << 18)}, "at most"),
        ("m/load", {"colour": "blue"}, "found 'colour'"),
        ("m/load", {"config": "{}", "file:../../outside": "AAAA"}, "below the model's folder"),
        ("m/load", {"config": "{}", "file:/etc/outside": "AAAA"}, "below the model's folder"),
        ("m/load", {"config": "{}", "file:1/../../../outside": "AAAA"}, "below the model's folder"),
        ("m/load", {"config": "{}", "file:": "AAAA"}, "below the model's folder"),
        ("m/load", {"config": "{}", "file:1/a\0b": "AAAA"}, "below the model's folder"),
        ("m/unload", {"unload_dependents": "yes"}, "true or false"),
        ("m/unload", {"colour": "blue"}, "found 'colour'"),
        ("../load", {}, "is no model name"),
        ("./load", {}, "is no model name"),
        (".hidden/unload", {}, "is no model name"),
        ("a%00b/load", {}, "is no model name"),
        ("%20/load", {}, "is no model name"),
        ("x" * 129 + "/load", {}, "is no model name"),
    ],
)
def test_a_request_that_makes_no_sense_or_leaves_the_repository_is_refused(refusing, path, parameters, words):
    status, body = post(refusing, f"/v2/repository/models/{path}", {"parameters": parameters})
    assert status == 400, body
    assert words in body["error"]
    ((of_m, state),) = index(refusing).items()
    assert (of_m, state[0]) == (("m", ""), "UNAVAILABLE")


@pytest.fixture(scope="module")
def refusing(tmp_path_factory):
    folder = tmp_path_factory.mktemp("refusing") / "models"
    add(folder, 1)
    with serving(folder, "--model-control-mode", "explicit") as running:
        yield running


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"parameters": 3}', b"\xff"])
def test_a_body_that_is_no_repository_request_is_refused(refusing, body):
    connection = http.client.HTTPConnection(refusing.url)
    connection.request("POST", "/v2/repository/models/m/load", body)
    answer = connection.getresponse()
    assert answer.status == 400
    assert "repository request" in json.loads(answer.read())["error"]
    connection.close()


def test_links_out_of_the_repository_are_not_loaded_by_request_either(server, repository, tmp_path):
    add(tmp_path / "outside", 1)
    (repository / "link").symlink_to(tmp_path / "outside" / "m")
    status, body = post(server, "/v2/repository/models/link/load")
    assert (status, "leads out of the repository" in body["error"]) == (400, True)


@pytest.mark.parametrize("mode", ["none", "poll"])
def test_other_modes_refuse_and_say_which_one_would_not(repository, mode):
    with serving(repository, "--model-control-mode", mode) as server:
        for verb in ("load", "unload"):
            status, body = post(server, f"/v2/repository/models/m/{verb}")
            assert status == 400
            assert "start it with --model-control-mode explicit" in body["error"]
        assert answers(server) == {1}


def test_kserves_messages_are_understood_although_their_fields_have_other_numbers(server):
    name = b"\x0a\x01m"  # model_name is field 1, where Triton has the name of a repository
    with grpc.insecure_channel(server.grpc_url) as channel:
        for verb in ("Load", "Unload"):
            call = channel.unary_unary(f"/inference.GRPCInferenceService/RepositoryModel{verb}")
            assert call(name) == name + b"\x10\x01"  # that model, and true
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        triton = stub.RepositoryModelLoad(service_pb2.RepositoryModelLoadRequest(model_name="m"))
        assert triton.SerializeToString() == b""


def test_a_load_is_answered_although_a_replica_is_killed_meanwhile(server, repository):
    add(repository, 1, ballast=32 << 20)
    last = server.booted_pids()[-1]  # not the one that speaks for all in the log
    os.kill(last, signal.SIGSTOP)
    with concurrent.futures.ThreadPoolExecutor() as threads:
        loads = [threads.submit(_load_until_told, server) for _ in range(4)]
        server.wait_for(r"m/1: loaded in")
        os.kill(last, signal.SIGKILL)
        assert 200 in [load.result(60) for load in loads]
    server.wait_for("is back after")
    assert answers(server) == {1}


def _load_until_told(server):
    """The status; None if the connection ended with the replica."""
    try:
        return post(server, "/v2/repository/models/m/load")[0]
    except OSError:
        return None


def test_loads_and_unloads_at_once_are_all_answered_and_the_last_one_counts(server):
    verbs = ["load", "unload"] * 8
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        outcomes = list(threads.map(lambda verb: post(server, f"/v2/repository/models/m/{verb}"), verbs))
    assert {status for status, _ in outcomes} <= {200, 400}
    refusals = {body["error"] for status, body in outcomes if status == 400}
    assert refusals <= {"it was unloaded by another request meanwhile"}  # a load that lost against an unload
    assert post(server, "/v2/repository/models/m/load")[0] == 200
    assert answers(server) == {1}
