"""The V2 documents that are not tensors, as functions of what is loaded."""

import asyncio

import numpy as np
import pytest
from google.protobuf import json_format
from server_fakes import ROWS, Plane
from tritonclient.grpc import model_config_pb2, service_pb2

from headrace import __version__
from headrace.batching import BatchingLimits
from headrace.config import Instances, Latest, ModelConfig
from headrace.errors import ModelNotFound, ModelNotReady, ServingError
from headrace.requests import InferRequest
from model_repo.routing import Routing
from server import v2


@pytest.fixture
def on(tmp_path):
    """`on(function)` is what `function(plane)` answers."""

    def run(function):
        async def main():
            async with asyncio.timeout(10), Plane(tmp_path).running() as plane:
                return function(plane)

        return asyncio.run(main())

    return run


def test_server_says_what_it_speaks():
    document = v2.server_metadata()
    assert (document["name"], document["version"]) == ("headrace", __version__)
    assert {"binary_tensor_data", "classification", "statistics", "model_configuration"} <= set(document["extensions"])


def test_metadata_names_ready_versions_and_whole_shapes(on):
    document = on(lambda plane: v2.model_metadata(plane.data, "echo", ""))
    assert document == {
        "name": "echo",
        "versions": ["1", "3"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
        "outputs": [{"name": "x_out", "datatype": "FP32", "shape": [-1, 2]}],
    }
    json_format.ParseDict(document, service_pb2.ModelMetadataResponse())


@pytest.mark.parametrize("read", [v2.model_metadata, v2.model_config_json])
@pytest.mark.parametrize(
    ("model", "version", "kind"),
    [
        ("none", "", ModelNotFound),
        ("echo", "2", ModelNotFound),
        ("echo", "latest", ModelNotFound),
        ("echo", "-1", ModelNotFound),
        ("echo", "9" * 30, ModelNotFound),
        ("broken", "", ModelNotReady),
        ("ghost", "", ModelNotReady),
    ],
)
def test_document_of_what_cannot_serve_is_refused(on, read, model, version, kind):
    with pytest.raises(kind, match=model):
        on(lambda plane: read(plane.data, model, version))


def test_configuration_is_tritons_message_without_the_batch_axis(on):
    document = on(lambda plane: v2.model_config_json(plane.data, "echo", "1"))
    message = json_format.ParseDict(document, model_config_pb2.ModelConfig())
    assert (message.name, message.backend, message.max_batch_size) == ("echo", "onnxruntime", ROWS)
    assert list(message.input[0].dims) == document["input"][0]["dims"] == [2]
    assert document["input"][0]["data_type"] == "TYPE_FP32"
    assert message.HasField("dynamic_batching")
    assert message.version_policy.latest.num_versions == 1
    assert document["instance_group"][0]["kind"] == "KIND_CPU"


def test_configuration_of_an_unbatched_model_has_whole_shapes(on):
    document = on(lambda plane: v2.model_config_json(plane.data, "one", ""))
    assert document["max_batch_size"] == 0
    assert document["input"][0]["dims"] == []
    assert "dynamic_batching" not in document


def test_text_is_tritons_string(on):
    assert on(lambda plane: v2.model_config_json(plane.data, "text", ""))["input"][0]["data_type"] == "TYPE_STRING"


@pytest.mark.parametrize(
    ("policy", "field", "value"),
    [
        (Latest(latest=3), "latest", {"num_versions": 3}),
        ("all", "all", {}),
        ((1, 5), "specific", {"versions": [1, 5]}),
    ],
)
def test_configuration_says_which_versions_are_served(on, policy, field, value):
    def read(plane):
        _configure(plane, ModelConfig(versions=policy))
        return v2.model_config_json(plane.data, "echo", "3")

    assert on(read)["version_policy"] == {field: value}


def test_configuration_says_what_was_configured(on):
    config = ModelConfig(
        batching=BatchingLimits(max_queue_delay_ms=1.5), instances=Instances(count=3), labels={"x_out": "labels.txt"}
    )

    def read(plane):
        _configure(plane, config)
        return v2.model_config_json(plane.data, "echo", "3")

    document = on(read)
    assert document["dynamic_batching"]["max_queue_delay_microseconds"] == 1500
    assert document["instance_group"][0]["count"] == 3
    assert document["output"][0]["label_filename"] == "labels.txt"


def _configure(plane, config):
    object.__setattr__(plane.servable(), "config", config)


def test_statistics_have_tritons_names_and_count_rows_and_batches(tmp_path):
    async def main():
        async with asyncio.timeout(10), Plane(tmp_path).running() as plane:
            for rows in (1, 3):
                await plane.data.infer(InferRequest("echo", "", {"x": np.zeros((rows, 2), np.float32)}))
            with pytest.raises(ServingError):
                plane.data.submit(InferRequest("echo", "", {}), pytest.fail)
            return v2.statistics(plane.data, plane.statistics, "echo", "3")

    document = asyncio.run(main())

    (row,) = document["model_stats"]
    assert (row["name"], row["version"]) == ("echo", "3")
    assert (row["inference_count"], row["execution_count"]) == (4, 2)
    assert row["last_inference"] > 1_700_000_000_000
    times = row["inference_stats"]
    assert [times[key]["count"] for key in ("success", "fail", "queue", "compute_infer", "cache_hit")] == [
        2,
        1,
        2,
        2,
        0,
    ]
    assert times["success"]["ns"] >= times["compute_infer"]["ns"] > 0
    assert [(batch["batch_size"], batch["compute_infer"]["count"]) for batch in row["batch_stats"]] == [(1, 1), (3, 1)]
    json_format.ParseDict(document, service_pb2.ModelStatisticsResponse())


@pytest.mark.parametrize(
    ("name", "version", "found"),
    [("echo", "", ["echo/1", "echo/3"]), ("echo", "3", ["echo/3"]), ("echo", "03", ["echo/3"])],
)
def test_statistics_are_of_the_versions_asked_for(on, name, version, found):
    rows = on(lambda plane: v2.statistics(plane.data, plane.statistics, name, version))["model_stats"]
    assert [f"{row['name']}/{row['version']}" for row in rows] == found


def test_statistics_of_all_are_of_every_ready_version_and_nothing_else(on):
    rows = on(lambda plane: v2.statistics(plane.data, plane.statistics))["model_stats"]
    assert [row["name"] for row in rows] == ["echo", "echo", "half", "one", "text"]


@pytest.mark.parametrize(
    ("name", "version", "kind"),
    [("none", "", ModelNotFound), ("broken", "", ModelNotReady), ("echo", "2", ModelNotFound)],
)
def test_statistics_of_what_cannot_serve_are_refused(on, name, version, kind):
    with pytest.raises(kind):
        on(lambda plane: v2.statistics(plane.data, plane.statistics, name, version))


def test_index_lists_everything_with_state_and_reason(on):
    rows = {(row["name"], row.get("version")): row for row in on(lambda plane: v2.repository_index(plane.data))}
    assert rows["echo", "1"] == {"name": "echo", "version": "1", "state": "READY"}
    assert rows["broken", "1"]["state"] == "UNAVAILABLE"
    assert rows["broken", "1"]["reason"] == "the file is not a model"
    assert rows["ghost", None]["reason"] == "ghost has no versions"


def labelled(function, traffic=()):
    def run(plane):
        plane.want(echo=Routing({"stable": 1, "canary": 3, "next": 7}, dict(traffic)))
        return function(plane)

    return run


def test_a_label_stands_wherever_a_version_does(on):
    def documents(version):
        def read(plane):
            return (
                v2.model_metadata(plane.data, "echo", version),
                v2.model_config_json(plane.data, "echo", version),
                v2.statistics(plane.data, plane.statistics, "echo", version),
                v2.model_ready(plane.data, "echo", version),
            )

        return on(labelled(read))

    assert documents("canary") == documents("3") != documents("stable") == documents("1")
    assert documents("canary")[0]["versions"] == ["1", "3"], "numbers, as ever"


def test_a_label_whose_version_cannot_serve_is_not_ready_and_one_that_there_is_not_is_not_found(on):
    assert on(labelled(lambda plane: v2.model_ready(plane.data, "echo", "next"))) is False
    with pytest.raises(ModelNotFound, match="no version 'canery'; there is 1, 3, stable, canary, next"):
        on(labelled(lambda plane: v2.model_ready(plane.data, "echo", "canery")))
    with pytest.raises(ModelNotFound, match="version 'canary' is not found"):
        on(labelled(lambda plane: v2.statistics(plane.data, plane.statistics, "", "canary")))


def turns(plane):
    """The versions that the next requests get."""
    handles = [plane.models.acquire("echo", "") for _ in range(8)]
    for handle in handles:
        handle.release()
    return [handle.spec.id.version for handle in handles]


def test_documents_of_a_split_model_are_of_its_highest_version_and_take_no_turn(on):
    def documents(plane):
        for _ in range(5):
            assert v2.model_ready(plane.data, "echo", "")
            assert v2.model_config(plane.data, "echo", "") == v2.model_config(plane.data, "echo", "3")
            assert v2.model_metadata(plane.data, "echo", "") == v2.model_metadata(plane.data, "echo", "3")
        rows = v2.statistics(plane.data, plane.statistics, "echo")["model_stats"]
        assert [row["version"] for row in rows] == ["1", "3"]
        return turns(plane)

    assert on(labelled(documents, {"canary": 50})) == on(labelled(turns, {"canary": 50}))


def test_index_shows_which_labels_point_where(on):
    rows = on(labelled(lambda plane: v2.repository_index(plane.data)))
    assert {row.get("version"): row.get("labels") for row in rows if row["name"] == "echo"} == {
        "1": ["stable"],
        "3": ["canary"],
    }
    assert all("labels" not in row for row in rows if row["name"] != "echo")


def test_index_of_the_ready_lists_only_those(on):
    rows = on(lambda plane: v2.repository_index(plane.data, ready=True))
    assert [row["name"] for row in rows] == ["echo", "echo", "half", "one", "text"]


@pytest.mark.parametrize(
    ("name", "version", "ready"),
    [
        ("echo", "", True),
        ("echo", "3", True),
        ("echo", "03", True),
        ("broken", "", False),
        ("broken", "1", False),
        ("ghost", "", False),
        ("ghost", "7", False),
    ],
)
def test_model_is_ready_if_a_request_would_be_taken(on, name, version, ready):
    assert on(lambda plane: v2.model_ready(plane.data, name, version)) is ready


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("none", ""),
        ("echo", "2"),
        ("echo", "x"),
        ("echo", "²"),
        ("echo", "٣"),
        ("echo", "9" * 5000),
        ("broken", "2"),
        ("a" * 9000, ""),
    ],
)
def test_readiness_of_what_is_not_there_is_not_found(on, name, version):
    with pytest.raises(ModelNotFound) as refusal:
        on(lambda plane: v2.model_ready(plane.data, name, version))
    assert len(str(refusal.value)) < 300
