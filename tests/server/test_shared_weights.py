"""All replicas of a real server map one file of weights, also after a reload and after one was killed."""

import json
import os
import signal
from pathlib import Path

import onnx_models
import pytest
from asking import until
from live import serving
from prometheus_client.parser import text_string_to_metric_families

REPLICAS = 2
WEIGHTS = 4 * 1024 * 8192


def mapped(pid):
    """Weights files of the cache that a replica has mapped."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {line.split(maxsplit=5)[5] for line in lines if line.endswith("weights.bin")}


def memory_of(server):
    """Version -> bytes of `wide`, as the statistics and the metrics say alike."""
    rows = json.loads(server.get("/v2/models/stats"))["model_stats"]
    usage = {row["version"]: row["memory_usage"] for row in rows}
    assert all(place["type"] == "CPU" and place["id"] == 0 for (place,) in usage.values())
    said = {version: place["byte_size"] for version, (place,) in usage.items()}
    for family in text_string_to_metric_families(server.get("/metrics").decode()):
        if family.name == "headrace_model_memory_bytes":
            assert {sample.labels["version"]: sample.value for sample in family.samples} == said
    return said


def add(repository, version, classes):
    fresh = onnx_models.save(onnx_models.mlp(1024, 8192, classes), repository.parent, "fresh", version)
    (repository / "wide" / str(version)).mkdir(parents=True)
    fresh.replace(repository / "wide" / str(version) / "model.onnx")


@pytest.mark.slow
def test_replicas_share_what_one_of_them_prepared(tmp_path):
    repository, cache = tmp_path / "models", tmp_path / "cache"
    add(repository, 1, 8)
    flags = ["--cache-dir", str(cache), "--model-control-mode", "poll"]
    with serving(repository, *flags, replicas=REPLICAS) as server:
        pids = server.booted_pids()
        assert len(pids) == REPLICAS
        (first,) = {frozenset(mapped(pid)) for pid in pids}
        assert len(first) == 1
        one = memory_of(server)["1"]
        assert WEIGHTS <= one < 2 * WEIGHTS, "the file is in memory once"
        add(repository, 2, 9)
        server.wait_for("wide/2 is ready")
        os.kill(pids[0], signal.SIGKILL)
        server.wait_for(r"replica \d is back after")
        (second,) = {frozenset(mapped(pid) - first) for pid in server.booted_pids()}
        assert len(second) == 1
        until(lambda: list(memory_of(server)) == ["2"])
        until(lambda: WEIGHTS <= memory_of(server)["2"] < 2 * WEIGHTS)
    assert sum(path.is_dir() for path in cache.iterdir()) == 2, "one for each version"


def test_a_cache_that_cannot_be_is_one_warning_and_the_model_is_served(tmp_path):
    (tmp_path / "file").touch()
    add(tmp_path / "models", 1, 8)
    with serving(tmp_path / "models", "--cache-dir", str(tmp_path / "file"), replicas=REPLICAS) as server:
        assert server.get("/v2/models/wide/ready") is not None
        assert server.log.text.count("WARNING") == 1
        assert "replicas do not share their models' weights" in server.log.text
