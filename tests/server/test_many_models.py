"""Many models in one repository of a real server: all serve, and none costs a descriptor."""

import json
from pathlib import Path

import onnx_models
from live import serving

MODELS, REPLICAS = 150, 2
DESCRIPTORS = 100
"""Fewer than models: a replica without any has some thirty."""


def test_many_models_are_served_with_few_descriptors(tmp_path):
    """Under the usual limit of 1,024 descriptors a thousand models with one each could not be served."""
    graph = onnx_models.mlp(4, 4, 2)
    for number in range(MODELS):
        onnx_models.save(graph, tmp_path, f"m{number:03d}")
    names = [f"m{number:03d}" for number in range(MODELS)]

    with serving(tmp_path, "--log-level", "warning", replicas=REPLICAS) as server:
        replicas = server.booted_pids()
        assert len(replicas) == REPLICAS
        for pid in replicas:
            assert sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()) < DESCRIPTORS
        for name in names:
            assert json.loads(server.get(f"/v2/models/{name}/ready")) == {"name": name, "ready": True}
        statistics = json.loads(server.get("/v2/models/stats"))["model_stats"]
        assert [row["name"] for row in statistics] == names
        assert server.get("/metrics").decode().count("\nheadrace_requests_total{") == MODELS
