"""A model whose weights are larger than the memory of this machine: refused with the numbers, and nobody notices."""

import json
import re

import onnx_models
import pytest
from asking import index
from live import serving
from onnx import TensorProto, helper, load_model_from_string

from headrace.memory import room


@pytest.fixture
def repository(tmp_path):
    onnx_models.save(onnx_models.mlp(), tmp_path, "small")
    giant = onnx_models.save(enormous(room().limit_bytes * 2 // 4), tmp_path, "giant")
    with (giant.parent / "weights.bin").open("wb") as file:
        file.truncate(room().limit_bytes * 2)  # of which nothing is on the disk
    return tmp_path


def enormous(elements):
    model = load_model_from_string(onnx_models.mlp())
    weight = TensorProto(name="enormous", data_type=TensorProto.FLOAT, dims=[elements])
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="weights.bin")
    model.graph.initializer.append(weight)
    model.graph.node.append(helper.make_node("Size", ["enormous"], ["elements"]))
    model.graph.output.append(helper.make_tensor_value_info("elements", TensorProto.INT64, []))
    return model.SerializeToString()


@pytest.mark.parametrize("placement", ["inline", "shared"])
def test_it_is_refused_with_the_numbers_and_the_others_serve(repository, placement):
    (repository / "giant" / "config.yaml").write_text(f"placement: {placement}\n")
    with serving(repository, replicas=2) as server:
        rows = index(server)
        assert rows["small", "1"] == ("READY", "")
        state, reason = rows["giant", "1"]
        assert state == "UNAVAILABLE"
        assert re.search(
            r"model giant/1 does not fit: its weights have [\d.]+ [GT]iB, and of the [\d.]+ [GT]iB of this "
            r"(machine|control group) [\d.]+ [GMT]iB are free",
            reason,
        )
        (row,) = json.loads(server.get("/v2/models/stats"))["model_stats"]
        assert row["name"] == "small"
        assert row["memory_usage"][0]["byte_size"] > 0
