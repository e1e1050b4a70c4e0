"""What the server says of a run."""

import pytest
from asking import add
from live import serving
from loadtest_command import run

from loadtest.observed import Counted, Seen, between, parse
from loadtest.text import report


def counted(requests, queue_ns, rows, runs, **batches):
    found = Counted()
    found.include(
        {
            "inference_count": rows,
            "execution_count": runs,
            "inference_stats": {
                "success": {"count": str(requests), "ns": 2 * queue_ns},
                "queue": {"count": requests, "ns": queue_ns},
            },
            "batch_stats": [
                {"batch_size": int(size[1:]), "compute_infer": {"count": count, "ns": 1}}
                for size, count in batches.items()
            ],
        }
    )
    return found


def test_only_what_happened_meanwhile_counts():
    before = Seen({"m": counted(10, 50e6, 20, 10, _1=4, _2=6)}, {"a_total": 5.0, "still": 1.0})
    after = Seen(
        {"m": counted(30, 90e6, 80, 25, _1=4, _2=6, _4=15), "new": counted(1, 1, 1, 1)}, {"a_total": 8.0, "still": 1.0}
    )
    found = between(before, after)
    assert list(found["models"]) == ["m"]
    assert found["models"]["m"] == {
        "requests": 20,
        "failed": 0,
        "total_ms": 4.0,
        "queue_ms": 2.0,
        "input_ms": 0.0,
        "infer_ms": 0.0,
        "output_ms": 0.0,
        "rows_per_batch": 4.0,
        "batches": {"4": 15},
    }
    assert found["metrics"] == {"a_total": 3.0}


def test_versions_of_a_model_are_one():
    found = counted(10, 50, 20, 10, _1=4)
    found.include({"inference_stats": {"success": {"count": 5, "ns": 7}}, "batch_stats": [{"batch_size": 1}]})
    assert (found.requests, found.ns["total"], found.batches) == (15, 107, {1: 4})


def test_a_server_that_says_nothing_is_nothing():
    assert between(Seen({}, {}), Seen({}, {})) == {}
    assert between(Seen({"m": Counted()}, {}), Seen({"m": Counted()}, {})) == {}


def test_metrics_are_read_and_what_else_is_there_is_passed_over():
    text = """# HELP up Whether.
# TYPE up gauge
up 1
:tensorflow:serving:request_count{model_name="a b",status="OK"} 7 1395066363000
le{x="+Inf"} +Inf
<html> no
broken{ 5
word x
"""
    assert parse(text) == {
        "up": 1,
        ':tensorflow:serving:request_count{model_name="a b",status="OK"}': 7,
        'le{x="+Inf"}': float("inf"),
    }


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("observed") / "models"
    add(folder, 1)
    with serving(folder, replicas=2) as server:
        yield server


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_queue_compute_batches_and_balance_are_those_of_the_run(server, tmp_path, protocol):
    url = f"http://{server.url}" if protocol == "http" else f"grpc://{server.grpc_url}"
    ask = (url, "--warm-up", "0", "--metrics", f"http://{server.url}/metrics", "-c", "16")
    found, said = run(tmp_path, *ask)
    model = found["server"]["models"]["m"]
    assert model["requests"] == found["requests"]["ok"] > 0
    assert 0 < sum(model[f"{part}_ms"] for part in ("queue", "input", "infer", "output")) <= model["total_ms"]
    assert sum(int(size) * count for size, count in model["batches"].items()) == model["requests"]
    assert sum(found["server"]["replicas"].values()) == model["requests"]
    assert sorted(found["server"]["replicas"]) == ["0", "1"]
    assert report(found) in said
    for word in ("in the server: m", "rows/batch", "replicas "):
        assert word in said
