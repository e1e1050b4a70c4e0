"""Labels and shares over all replicas of a real server, while somebody asks. Version N of model m answers N times x."""

import contextlib
import http.client
import json
import re
import shutil
from collections import Counter

import numpy as np
import pytest
import tritonclient.grpc
from asking import BODY, INFER, REPLICAS, add, asked, until
from live import serving

STABLE = "/v2/models/m/versions/stable/infer"
CANARY = "/v2/models/m/versions/canary/infer"


def configure(repository, text):
    """As people should: the whole file at once."""
    fresh = repository.parent / "config.yaml"
    fresh.write_text(text)
    fresh.replace(repository / "m" / "config.yaml")


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "models"
    add(folder, 1)
    add(folder, 2)
    configure(folder, "{versions: all, version_labels: {stable: 1, canary: 2}, traffic: {canary: 20%}}")
    return folder


@pytest.fixture
def server(repository):
    with serving(repository, "--model-control-mode", "poll", replicas=REPLICAS) as running:
        yield running


def shares(askers, requests=400):
    """Version -> percent, of what these are answered from now on."""
    before = [asker.versions.copy() for asker in askers]
    until(
        lambda: all(asker.versions.total() > was.total() + requests for asker, was in zip(askers, before, strict=True))
    )
    found = sum((asker.versions - was for asker, was in zip(askers, before, strict=True)), start=Counter())
    return {version: 100 * count / found.total() for version, count in found.items()}


def answered(askers, version):
    return all(asker.factors[-1:] == [version] for asker in askers)


def about(expected):
    return {version: pytest.approx(share, abs=2) for version, share in expected.items()}


def test_labels_move_and_versions_come_and_no_request_fails(server, repository):
    with asked(server, connections=2, paths=(STABLE, CANARY, INFER)) as askers:
        stable, canary, split = askers[:2], askers[2:4], askers[4:]
        until(lambda: answered(stable, 1) and answered(canary, 2))
        assert shares(split) == about({1: 80, 2: 20})
        add(repository, 3)
        configure(repository, "{versions: [2, 3], version_labels: {stable: 2, canary: 3}, traffic: {canary: 40%}}")
        until(lambda: answered(stable, 2) and answered(canary, 3))
        assert shares(split) == about({2: 60, 3: 40})
        configure(repository, "{versions: [4, 5], version_labels: {stable: 4, canary: 5}, traffic: {canary: 20%}}")
        server.wait_for(r"m/4: the configuration names version 4; there is 1, 2, 3")
        add(repository, 4)  # without the other, which the label of it waits for
        until(lambda: answered(stable, 4))
        assert answered(canary, 3)
        add(repository, 5)
        until(lambda: answered(canary, 5))
        shutil.rmtree(repository / "m" / "3")
        assert shares(split) == about({4: 80, 5: 20})
        configure(repository, "{versions: [4, 5], version_labels: {stable: 5, canary: 5}}")
        until(lambda: answered([*stable, *split], 5))
    assert [asker.factors for asker in stable] == [[1, 2, 4, 5]] * 2
    assert [asker.factors for asker in canary] == [[2, 3, 5]] * 2
    assert not [asker.trouble for asker in askers if asker.trouble]
    assert _loads(server) == {"1": 1, "2": 1, "3": 1, "4": 1, "5": 1}, "moving a label loads nothing again"
    counted = _counted(server)
    for asker in askers:
        counted.subtract(asker.versions)
    assert set(counted.values()) == {0}, "what was answered by which version can be read from the metrics"


def _loads(server):
    """Version -> how often the replica that speaks for all has loaded it."""
    found = re.findall(r"m/(\d): loaded in", server.log.text)
    return {version: found.count(version) for version in sorted(set(found))}


def _counted(server):
    lines = re.findall(r'headrace_requests_total\{model="m",version="(\d)"\} ([\d.]+)', server.get("/metrics").decode())
    return Counter({int(version): int(float(count)) for version, count in lines})


def test_a_key_keeps_its_version_over_connections_replicas_and_protocols(server, repository):
    configure(repository, "{versions: all, version_labels: {stable: 1, canary: 2}, traffic: {canary: 50%}}")
    keys = [f"user {number}" for number in range(12)]
    until(lambda: {_by_rest(server, key) for key in keys} == {1, 2} and _agreed(server, keys))
    chosen = {key: _by_rest(server, key) for key in keys}
    for _ in range(4):
        assert {key: _by_rest(server, key) for key in keys} == chosen
    assert {key: _by_grpc(server, key) for key in keys} == chosen
    configure(repository, "{versions: all, version_labels: {stable: 1, canary: 2}, traffic: {canary: 90%}}")
    until(lambda: any(_by_rest(server, key) != chosen[key] for key in keys))
    assert all(_by_rest(server, key) == 2 for key in keys if chosen[key] == 2), "a share that grows gives nobody away"


def _agreed(server, keys):
    """Whether all replicas follow the same configuration, as far as many requests can tell."""
    return all(len({_by_rest(server, key) for _ in range(4)}) == 1 for key in keys)


def _by_rest(server, key):
    """The version that a new connection's request with this key is answered by."""
    with contextlib.closing(http.client.HTTPConnection(server.url, timeout=20)) as connection:
        connection.request("POST", INFER, BODY, {"Headrace-Sticky": key})
        return int(json.loads(connection.getresponse().read())["model_version"])


def _by_grpc(server, key):
    tensor = tritonclient.grpc.InferInput("x", [1, 2], "FP32")
    tensor.set_data_from_numpy(np.ones((1, 2), np.float32))
    with tritonclient.grpc.InferenceServerClient(server.grpc_url) as client:
        answer = client.infer("m", [tensor], headers={"headrace-sticky": key})
    return int(answer.get_response().model_version)
