"""New versions that must prove themselves: before they are published on real requests, afterwards for a while."""

import json
import os
import signal
import urllib.request

import numpy as np
import onnx_models
import pytest
from asking import REPLICAS, add, asked, index, until
from live import serving

NODE, MODEL, TENSOR = onnx_models.helper.make_node, onnx_models.model, onnx_models.tensor


@pytest.fixture
def repository(tmp_path):
    return tmp_path / "models"


def configure(repository, **safe_reload):
    (repository / "m").mkdir(parents=True, exist_ok=True)
    (repository / "m" / "config.yaml").write_text(json.dumps({"safe_reload": safe_reload}))


def put(repository, version, serialised):
    fresh = onnx_models.save(serialised, repository.parent, "fresh", version)
    (repository / "m" / str(version)).mkdir(parents=True, exist_ok=True)
    fresh.replace(repository / "m" / str(version) / "model.onnx")


def polling(repository):
    return serving(repository, "--model-control-mode", "poll", replicas=REPLICAS)


def events(server, **query):
    text = "&".join(f"{key}={value}" for key, value in query.items())
    return json.loads(server.get(f"/v2/events?{text}"))["events"]


def happened(server, kind, version):
    return [one.get("text", "") for one in events(server) if (one["kind"], one.get("version")) == (kind, str(version))]


def ask_all(askers):
    """Every asker has been answered a few times more."""
    before = [asker.asked for asker in askers]
    until(lambda: all(asker.asked > past + 20 for asker, past in zip(askers, before, strict=True)))


def nan_for_ten():
    """x -> x / (x - 10) * (x - 10): x, but NaN for 10. The samples of the probe do not show it."""
    ten = onnx_models.constant("ten", 10.0)
    nodes = [NODE("Sub", ["x", "ten"], ["d"]), NODE("Mul", ["x", "d"], ["n"]), NODE("Div", ["n", "d"], ["y"])]
    return MODEL(nodes, [TENSOR("x", "FP32", ("batch", 2))], [TENSOR("y", "FP32", ("batch", 2))], [ten])


def other_output():
    nodes = [NODE("Identity", ["x"], ["z"])]
    return MODEL(nodes, [TENSOR("x", "FP32", ("batch", 2))], [TENSOR("z", "FP32", ("batch", 2))])


def other_input():
    nodes = [NODE("Identity", ["x"], ["y"])]
    return MODEL(nodes, [TENSOR("x", "FP32", ("batch", 3))], [TENSOR("y", "FP32", ("batch", 3))])


def slow(rounds=400, width=256):
    """y = 2 x after much work that comes to nothing."""
    weights = onnx_models.constant("w", np.zeros((width, width)))
    wide = onnx_models.constant("wide", np.zeros((2, width)))
    narrow = onnx_models.constant("narrow", np.zeros((width, 2)))
    two = onnx_models.constant("two", 2.0)
    nodes = [NODE("MatMul", ["x", "wide"], ["h0"])]
    for number in range(rounds):
        nodes += [NODE("MatMul", [f"h{number}", "w"], [f"g{number}"]), NODE("Cos", [f"g{number}"], [f"h{number + 1}"])]
    nodes += [NODE("MatMul", [f"h{rounds}", "narrow"], ["none"]), NODE("Mul", ["x", "two"], ["double"])]
    nodes += [NODE("Add", ["double", "none"], ["y"])]
    return MODEL(
        nodes, [TENSOR("x", "FP32", ("batch", 2))], [TENSOR("y", "FP32", ("batch", 2))], [weights, wide, narrow, two]
    )


@pytest.mark.parametrize(
    ("checks", "second", "words"),
    [
        ({}, nan_for_ten, "output 'y' is NaN at [0, 1], it was 10"),
        ({}, other_output, "the outputs are 'z', they were 'y'"),
        ({}, other_input, "which version 1 has answered: input 'x' of model 'm' has shape [-1, 3]"),
        ({"tolerance": {"relative": 0.5}}, None, "output 'y' differs by 10 at [0, 1]: 20, it was 10"),
        ({"max_slowdown": 5}, slow, "times as long as with version 1; allowed are 5 times"),
    ],
    ids=["nan", "other output", "other input", "other values", "slow"],
)
def test_a_version_that_answers_real_requests_otherwise_is_not_published_and_the_reason_says_where(
    repository, checks, second, words
):
    add(repository, 1)
    configure(repository, requests=16, **checks)
    with polling(repository) as server, asked(server, connections=6) as askers:
        ask_all(askers)
        put(repository, 2, second()) if second else add(repository, 2)
        until(lambda: happened(server, "refused", 2))
        ((reason),) = happened(server, "refused", 2)
        assert words in reason
        until(lambda: words in index(server)["m", "2"][1])
        ask_all(askers)
        if not second:  # what may differ by that much is published
            configure(repository, requests=16, tolerance={"relative": 1.0})
            until(lambda: all(asker.factors[-1] == 2 for asker in askers))
        server.wait_for("m/2 is not published")
    assert [asker.trouble for asker in askers] == [[]] * len(askers)
    assert {tuple(asker.factors) for asker in askers} == {(1,) if second else (1, 2)}


def test_a_version_that_answers_alike_is_published(repository):
    add(repository, 1, factor=1)
    configure(repository, requests=16, tolerance={}, max_slowdown=100)
    with polling(repository) as server:
        assert {ask(server) for _ in range(40)} == {(1, "1")}
        add(repository, 2, factor=1 + 1e-9)  # which is 1 as FP32
        until(lambda: {ask(server) for _ in range(40)} == {(1, "2")})
        assert happened(server, "refused", 2) == []


def fragile():
    """Table lookup: numbers from 2 on are out of its range, which the probe does not try."""
    table = onnx_models.constant("table", np.arange(2))
    nodes = [NODE("Cast", ["x"], ["at"], to=onnx_models.TensorProto.INT64), NODE("Gather", ["table", "at"], ["y"])]
    return MODEL(nodes, [TENSOR("x", "FP32", ("batch", 2))], [TENSOR("y", "FP32", ("batch", 2))], [table])


def ask(server):
    body = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 10]}]}
    request = urllib.request.Request(f"http://{server.url}/v2/models/m/infer", json.dumps(body).encode())
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            document = json.loads(answer.read())
            return document["outputs"][0]["data"][0], document["model_version"]
    except urllib.error.HTTPError as error:
        return error.code, ""


@pytest.mark.parametrize("version", [1, 2], ids=["replaced in place", "another version"])
def test_a_version_that_fails_too_often_after_it_was_published_gives_way_to_the_old_one(repository, version):
    add(repository, 1)
    configure(repository, watch_s=30, max_error_rate=0.2, min_requests=5)
    with polling(repository) as server:
        assert ask(server) == (1, "1")
        put(repository, version, fragile())
        until(lambda: len(happened(server, "published", version)) == (2 if version == 1 else 1))
        until(lambda: ask(server) == (1, "1") and happened(server, "rolled_back", version))
        assert "requests have failed, 100%; allowed are 20%" in happened(server, "rolled_back", version)[0]
        assert {ask(server) for _ in range(40)} == {(1, "1")}  # on every replica, and so it stays
        state, reason = index(server)["m", str(version)]
        assert (state, "100%" in reason) == ("READY" if version == 1 else "UNAVAILABLE", True)
        if version == 2:  # a replica that comes later serves the old one too
            os.kill(server.booted_pids()[0], signal.SIGKILL)
            server.wait_for("is back after")
            assert {ask(server) for _ in range(40)} == {(1, "1")}
        add(repository, 3)  # the way on is open
        until(lambda: {ask(server) for _ in range(10)} == {(3, "3")})


def test_a_version_that_does_well_on_trial_stays_and_the_old_one_goes(repository):
    add(repository, 1)
    configure(repository, watch_s=1)
    with polling(repository) as server, asked(server) as askers:
        add(repository, 2)
        until(lambda: ("m", "2") in index(server) and all(asker.factors[-1:] == [2] for asker in askers))
        assert ("m", "1") in index(server)
        until(lambda: set(index(server)) == {("m", "2")})
    assert {(tuple(asker.trouble), tuple(asker.factors)) for asker in askers} == {((), (1, 2))}


def test_a_replica_that_starts_while_the_newest_version_is_broken_serves_the_one_before(repository):
    add(repository, 1)
    with polling(repository) as server:
        (repository / "m" / "2").mkdir()
        (repository / "m" / "2" / "model.onnx").write_bytes(b"no model")
        until(lambda: happened(server, "refused", 2))
        with asked(server):
            for replica, pid in enumerate(server.booted_pids()):
                os.kill(pid, signal.SIGKILL)
                server.wait_for(f"replica {replica} is back after")
        assert {ask(server) for _ in range(40)} == {(1, "1")}


def test_the_owners_own_requests_warm_a_version_up_and_must_be_taken(repository):
    add(repository, 1)
    warmup = repository / "m" / "warmup"
    warmup.mkdir()
    good = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 10]}]}
    (warmup / "usual.json").write_text(json.dumps(good))
    np.savez(warmup / "large.npz", x=np.ones((100, 2), np.float32))
    with polling(repository) as server:
        assert ask(server) == (1, "1")
        put(repository, 2, fragile())
        until(lambda: happened(server, "refused", 2))
        assert "warm-up request usual.json: " in happened(server, "refused", 2)[0]
        np.savez(warmup / "large.npz", x=np.ones((100, 3), np.float32))
        (warmup / "usual.json").unlink()
        put(repository, 3, nan_for_ten())
        until(lambda: happened(server, "refused", 3))
        assert "warm-up request large.npz: input 'x'" in happened(server, "refused", 3)[0]
        assert ask(server) == (1, "1")


def test_events_tell_what_became_of_models_and_replicas_in_order(repository):
    add(repository, 1)
    with polling(repository) as server:
        kinds = [(one["kind"], one.get("model"), one.get("version")) for one in events(server)]
        assert kinds[:2] == [("wanted", "m", "1"), ("published", "m", "1")]
        until(lambda: {one["text"] for one in events(server) if one["kind"] == "ready"} == {"replica 0", "replica 1"})
        last = events(server)[-1]["id"]
        (repository / "m" / "config.yaml").write_text("batchin: {}")
        until(lambda: events(server, since=last))
        (problem,) = events(server, since=last)
        assert (problem["kind"], problem["model"]) == ("problem", "m")
        assert "did you mean 'batching'" in problem["text"]
        assert events(server, model="nosuch") == []
        assert problem["time"].endswith("+00:00")
        os.kill(server.booted_pids()[0], signal.SIGKILL)
        until(lambda: any(one["kind"] == "replica_lost" and "SIGKILL" in one["text"] for one in events(server)))


def test_a_replica_that_does_not_get_on_with_a_load_is_not_waited_for_for_ever(repository):
    add(repository, 1)
    with serving(repository, "--model-control-mode", "poll", "--straggler-timeout-s", "1", replicas=REPLICAS) as server:
        stopped = server.booted_pids()[-1]
        os.kill(stopped, signal.SIGSTOP)
        add(repository, 2)
        server.wait_for(r"m/2 is not published: replica 1 has not loaded it 1 s after replica 0 has")
        os.kill(stopped, signal.SIGCONT)
        assert {ask(server) for _ in range(20)} == {(1, "1")}
        add(repository, 3)
        until(lambda: {ask(server) for _ in range(10)} == {(3, "3")})
