"""Loading whole models: metadata, batchability, declarations, instances, and the line in the log."""

import asyncio
import logging

import numpy as np
import onnx
import onnx_models
import pytest

from executor import load as load_module
from executor import whole
from executor.load import warm_up
from headrace.datatypes import Datatype
from headrace.errors import LoadFailed
from headrace.models import ModelId, ModelMetadata, TensorSpec

FP32 = Datatype.FP32


def answer(loaded, inputs):
    return asyncio.run(loaded.executor.run(inputs))


def test_metadata_is_read_from_the_model(load):
    assert load(onnx_models.mlp(), labels={"y": ("a", "b")}).metadata == ModelMetadata(
        id=ModelId("m", 1),
        platform="onnxruntime_onnx",
        inputs=(TensorSpec("x", FP32, (-1, 64)),),
        outputs=(TensorSpec("y", FP32, (-1, 8), labels=("a", "b")),),
        batchable=True,
    )


@pytest.mark.parametrize(
    ("serialised", "enabled", "batchable"),
    [
        (onnx_models.mlp(), "auto", True),
        (onnx_models.mlp(), False, False),
        (onnx_models.mlp(), True, True),
        (onnx_models.attention_axis0(), "auto", False),
        (onnx_models.attention_axis0(), True, True),
        (onnx_models.fixed_batch(), "auto", False),
    ],
)
def test_batchable(load, serialised, enabled, batchable):
    assert load(serialised, batching={"enabled": enabled}).metadata.batchable is batchable


def test_one_line_in_the_log_gives_the_reason(load, caplog):
    with caplog.at_level(logging.INFO, "headrace.executor"):
        load(onnx_models.attention_axis0(), instances={"count": 2, "threads": 1})
    (line,) = [record.getMessage() for record in caplog.records]
    assert "m/1: loaded in" in line
    assert "CPUExecutionProvider; 2 session(s) of 1 thread(s); not batchable: row 0 of output 'y'" in line


def test_declarations_are_held_against_the_model(load):
    declared = (TensorSpec("x", FP32, (-1, 64)),)
    load(onnx_models.mlp(), declared_inputs=declared, declared_outputs=(TensorSpec("y", FP32, (-1, 8)),))
    with pytest.raises(LoadFailed, match=r"output 'y' is declared with shape \[-1, 9\], the model has \[-1, 8\]"):
        load(onnx_models.mlp(), declared_inputs=declared, declared_outputs=(TensorSpec("y", FP32, (-1, 9)),))


def test_ranks_the_model_leaves_open_are_declared_and_observed(load):
    loaded = load(onnx_models.unknown_ranks(), declared_inputs=(TensorSpec("x", FP32, (-1, 3)),))
    assert loaded.metadata.inputs[0].shape == (-1, -1)
    assert loaded.metadata.outputs[0].shape == (-1, -1)
    assert loaded.metadata.batchable
    assert answer(loaded, {"x": np.ones((2, 3), np.float32)})["y"].tolist() == [[2, 2, 2], [2, 2, 2]]


def test_weights_in_a_file_beside_the_model(load, tmp_path):
    proto = onnx.load_from_string(onnx_models.mlp())
    folder = tmp_path / "m" / "1"
    folder.mkdir(parents=True)
    onnx.save_model(proto, folder / "x.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    loaded = load((folder / "x.onnx").read_bytes())
    assert loaded.metadata.batchable
    (folder / "w.bin").unlink()
    with pytest.raises(LoadFailed, match=r"w\.bin"):
        load((folder / "x.onnx").read_bytes())


def test_a_further_session_that_does_not_run_fails_the_load():
    def out_of_memory(inputs):
        raise RuntimeError("[ONNXRuntimeError] : 1 : FAIL : Failed to allocate memory for requested buffer of size 9")

    with pytest.raises(LoadFailed, match="a further session of model m/1 failed to run: Failed to allocate memory"):
        warm_up(ModelId("m", 1), out_of_memory, {"x": np.zeros(1)})


@pytest.fixture
def forgetful(monkeypatch):
    """Every model prepares itself whenever the size of the batch changes; `most` sessions can be opened."""
    opened, most = [], [100]

    def probe(*args):
        verdict = real_probe(*args)
        verdict.steps, verdict.forgets = (1, 4, 8), True
        return verdict

    def open_session(*args):
        if len(opened) == most[0]:
            raise LoadFailed("model m/1: out of memory")
        opened.append(real_open(*args))
        return opened[-1]

    real_probe, real_open = load_module.probe, whole.open_session
    monkeypatch.setattr(load_module, "probe", probe)
    monkeypatch.setattr(whole, "open_session", open_session)
    return opened, most


@pytest.mark.parametrize(("most", "sessions"), [(100, 3), (2, 2)])
def test_where_changes_of_size_are_slow_each_size_has_a_session_if_the_memory_is_enough(
    load, forgetful, most, sessions, caplog
):
    opened, limit = forgetful
    limit[0] = most
    loaded = load(onnx_models.mlp())
    assert len(opened) == sessions
    assert ("no session of its own for each size" in caplog.text) is (most < 3)
    x = np.random.default_rng(1).random((9, 64), np.float32)
    whole = answer(loaded, {"x": x})["y"]
    for rows in range(1, 9):
        np.testing.assert_allclose(answer(loaded, {"x": x[:rows]})["y"], whole[:rows], rtol=1e-4, atol=1e-5)


def test_a_session_of_several_threads_runs_two_batches_at_once_each_with_its_own_answer(load):
    loaded = load(onnx_models.mlp(), instances={"threads": 2})
    assert loaded.executor.slots == 2
    inputs = [np.full((rows, 64), rows / 100, np.float32) for rows in (3, 5, 300, 700)]

    async def all_at_once():
        return await asyncio.gather(*(loaded.executor.run({"x": x}) for x in inputs))

    expected = [answer(loaded, {"x": x[:1]})["y"][0] for x in inputs]
    for x, row, outputs in zip(inputs, expected, asyncio.run(all_at_once()), strict=True):
        np.testing.assert_allclose(outputs["y"], np.tile(row, (len(x), 1)), rtol=1e-4, atol=1e-5)
