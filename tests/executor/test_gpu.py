"""Models on a real GPU: the same answers as on the CPU, and what a GPU does differently."""

import asyncio

import gpu
import length_models
import numpy as np
import onnx_models
import pytest
import sharded_models
from onnx import helper
from onnx_models import constant, model, tensor

from headrace.config import Provider
from headrace.datatypes import Datatype
from headrace.errors import LoadFailed, OutOfMemory

pytestmark = gpu.MARKS

MEMORY = Provider(name="cuda", options={"gpu_mem_limit": 256 << 20})
ROW_BYTES = 4 << 20
"""Of what `inflated` makes of one row on its way."""


def answer(loaded, inputs):
    return asyncio.run(loaded.executor.run(inputs))


def convolutions():
    """x FP32 [batch, 3, 32, 32] -> y FP32 [batch, 8]."""
    rng = np.random.default_rng(5)
    nodes = [
        helper.make_node("Conv", ["x", "first"], ["a"], pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "second"], ["c"], pads=[1] * 4, strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["c"], ["d"]),
        helper.make_node("Flatten", ["d"], ["y"]),
    ]
    weights = [
        constant("first", rng.normal(size=(16, 3, 3, 3)) / 5),
        constant("second", rng.normal(size=(8, 16, 3, 3)) / 12),
    ]
    return model(nodes, [tensor("x", "FP32", ("batch", 3, 32, 32))], [tensor("y", "FP32", ("batch", 8))], weights)


def inflated():
    """x FP32 [batch, 1] -> y FP32 [batch, 1], the sum of ROW_BYTES / 4 products."""
    nodes = [
        helper.make_node("Mul", ["x", "ramp"], ["wide"]),
        helper.make_node("Sqrt", ["wide"], ["again"]),
        helper.make_node("ReduceSum", ["again", "axis"], ["y"]),
    ]
    constants = [constant("ramp", np.ones((1, ROW_BYTES // 4))), constant("axis", [1], np.int64)]
    return model(nodes, [tensor("x", "FP32", ("batch", 1))], [tensor("y", "FP32", ("batch", 1))], constants)


def rows(shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


@pytest.mark.parametrize(
    ("serialised", "inputs"),
    [
        (onnx_models.mlp(), {"x": rows((5, 64))}),
        (convolutions(), {"x": rows((5, 3, 32, 32))}),
        (length_models.attention(), {"ids": np.arange(35).reshape(5, 7), "attention_mask": np.ones((5, 7), np.int64)}),
    ],
    ids=["mlp", "convolutions", "attention"],
)
def test_a_model_is_batched_and_answers_as_on_the_cpu(load, serialised, inputs):
    on_gpu, on_cpu = (load(serialised, execution_providers=(name,)) for name in ("cuda", "cpu"))
    assert on_gpu.providers[0] == "CUDAExecutionProvider"
    assert on_gpu.device == "cuda:0"
    assert on_gpu.metadata.batchable
    assert len(on_gpu.curve) > 5
    found, expected = answer(on_gpu, inputs), answer(on_cpu, inputs)
    assert list(found) == list(expected)
    for name, array in expected.items():
        gpu.assert_near(found[name], array)


def test_without_anything_asked_for_the_gpu_is_taken(load):
    assert load(onnx_models.mlp(), execution_providers=()).providers[0] == "CUDAExecutionProvider"


@pytest.mark.parametrize("datatype", list(Datatype))
def test_every_datatype_comes_back_as_it_was(load, datatype):
    values = np.array([b"a", b"bc"], object) if datatype is Datatype.BYTES else np.array([0, 1]).astype(datatype.numpy)
    loaded = load(onnx_models.identity(datatype.value), execution_providers=("cuda",))
    if datatype is Datatype.BYTES:
        values = np.array(["a", "bc"], object)
    assert answer(loaded, {"x": values})["y"].tolist() == values.tolist()


def test_padding_is_tried_on_the_gpu_too(load):
    exact = [Provider(name="cuda", options={"use_tf32": 0})]
    assert load(length_models.attention(), execution_providers=exact).metadata.padding is not None
    assert load(length_models.mean(), execution_providers=exact).metadata.padding is None


def test_one_session_runs_several_batches_at_once_each_with_its_own_answer(load):
    loaded = load(onnx_models.mlp(), execution_providers=("cuda",))
    assert loaded.executor.slots == 4
    inputs = [np.full((count, 64), count / 100, np.float32) for count in (3, 5, 300, 700) * 10]

    async def all_at_once():
        return await asyncio.gather(*(loaded.executor.run({"x": x}) for x in inputs))

    expected = [answer(loaded, {"x": x[:1]})["y"][0] for x in inputs]
    for x, row, outputs in zip(inputs, expected, asyncio.run(all_at_once()), strict=True):
        gpu.assert_near(outputs["y"], np.tile(row, (len(x), 1)))


def test_convolutions_get_batches_of_few_sizes(load):
    loaded = load(convolutions(), execution_providers=("cuda",), batching={"max_batch_rows": 8})
    assert {count for count, _ in loaded.curve} > {1, 4, 5, 8}
    x = rows((8, 3, 32, 32))
    whole = answer(loaded, {"x": x})["y"]
    gpu.assert_near(answer(loaded, {"x": x[:5]})["y"], whole[:5])


def test_a_batch_too_large_for_the_memory_is_said_to_be_so_and_the_next_one_runs(load):
    loaded = load(inflated(), execution_providers=(MEMORY,))
    x = np.ones((200, 1), np.float32)
    with pytest.raises(OutOfMemory, match=r"m/1"):
        answer(loaded, {"x": x})
    assert answer(loaded, {"x": x[:4]})["y"].tolist() == [[ROW_BYTES / 4]] * 4


def test_a_model_whose_weights_do_not_fit_is_refused_by_name(load):
    small = Provider(name="cuda", options={"gpu_mem_limit": 1 << 20})
    with pytest.raises(LoadFailed, match=r"model m/1.*memory"):
        load(onnx_models.mlp(1024, 1024), execution_providers=(small,))


def test_options_are_refused_by_name(load):
    with pytest.raises(LoadFailed, match="gpu_mem_limitt"):
        load(onnx_models.mlp(), execution_providers=(Provider(name="cuda", options={"gpu_mem_limitt": 1}),))


def test_a_stage_on_a_gpu_gives_the_next_one_what_it_would_have_got_from_a_cpu(load, caplog):
    caplog.set_level("INFO", "headrace")
    serialised, inputs = sharded_models.layers(), {"x": rows((40, sharded_models.WIDTH))}
    expected = answer(load(serialised), inputs)
    stages = load(serialised, execution_providers=(), sharding={"devices": ("cuda:0", "cpu:0"), "stages": 2})
    for name, array in answer(stages, inputs).items():
        gpu.assert_near(array, expected[name])
    assert "on cuda:0: values go between the GPU and pinned memory" in caplog.text
