"""Which models are padded: those whose rows are the same padded and alone, found by trying it."""

import logging

import length_models
import numpy as np
import onnx_models
import pytest

from executor.padding import GRID_S, find_padding
from executor.probe import probe
from headrace.batching import BatchingLimits
from headrace.errors import LoadFailed
from headrace.models import ModelId
from headrace.padding import Mask, Padded, Padding

ID = ModelId("m", 1)


def found(runner, serialised, pad="auto", run=None, **limits):
    signature, runs = runner(serialised)
    run = run or runs
    return find_padding(ID, signature, pad, probe(ID, signature, BatchingLimits(**limits), run), run)


@pytest.mark.parametrize("datatype", ["INT64", "INT32", "FP32", "BOOL"])
def test_a_model_with_a_mask_is_padded_and_its_mask_is_known(runner, datatype):
    kind = {"BOOL": bool, "FP32": float}.get(datatype, int)
    padding = found(runner, length_models.attention(datatype=datatype)).padding
    assert padding == Padding(
        {"ids": Padded(1, 0), "attention_mask": Padded(1, kind(0))}, {"tokens": (1,)}, Mask("attention_mask", kind(1))
    )
    assert type(padding.mask.real) is kind


def test_a_mask_that_says_what_is_not_real_is_seen_by_trying(runner):
    verdict = found(runner, length_models.attention("padding_mask", real=0))
    assert verdict.padding.inputs["padding_mask"] == Padded(1, 1)
    assert verdict.padding.mask == Mask("padding_mask", 0)
    assert verdict.reason == "padded: 'ids' with 0, 'padding_mask' with 1; 'padding_mask' is made where it is not sent"


@pytest.mark.parametrize(
    ("serialised", "outputs"),
    [
        (length_models.running_sums(), {"y": (1,)}),
        (length_models.scores(), {"y": (1, 2)}),
        (length_models.text(), {"y": (1,)}),
        (onnx_models.gather(), {"y": (1,)}),
        (onnx_models.two_inputs(("n", "k"), ("n", "k")), {"sum": (1,), "product": (1,)}),
        (onnx_models.identity("UINT8", ("n", "k", 3)), {"y": (1,)}),
    ],
)
def test_where_nothing_looks_at_what_is_filled_in_there_needs_be_no_mask(runner, serialised, outputs):
    padding = found(runner, serialised).padding
    assert padding.outputs == outputs
    assert padding.mask is None


@pytest.mark.parametrize(
    ("serialised", "reason"),
    [
        (length_models.mean(), "output 'y' is another one when a row of 5 is padded to 17, by "),
        (length_models.largest(), "output 'y' is another one when a row of 5 is padded to 17, by "),
        (length_models.last(), "output 'y' is another one when a row of 5 is padded to 17, by "),
        (length_models.every_other(), "axis 1 of output 'y' is [9, 3, 2] long for lengths [17, 5, 4]"),
        (length_models.two_lengths(), "the free axes of the inputs have different names: length, other"),
        (onnx_models.convolution(), "input 'image' has 2 free axes besides the first, not one"),
    ],
)
def test_where_padding_is_not_exact_it_is_refused_by_name(runner, serialised, reason):
    verdict = found(runner, serialised)
    assert verdict.padding is None
    assert verdict.reason.startswith(f"not padded: {reason}")
    assert verdict.costs == []


@pytest.mark.parametrize("serialised", [onnx_models.mlp(), onnx_models.fixed_batch(), onnx_models.attention_axis0()])
def test_where_there_is_no_length_nothing_is_tried_and_nothing_said(runner, serialised):
    signature, run = runner(serialised)
    verdict = probe(ID, signature, BatchingLimits(), run)

    def never(inputs):
        raise AssertionError("there is nothing to try")

    assert find_padding(ID, signature, "auto", verdict, never).reason == ""


def test_switched_off_is_off(runner):
    assert found(runner, length_models.attention(), pad=False).padding is None


def test_what_is_declared_is_filled_in(runner):
    padding = found(runner, length_models.attention(), {"ids": 7, "attention_mask": 0}).padding
    assert padding.inputs == {"ids": Padded(1, 7), "attention_mask": Padded(1, 0)}
    assert padding.mask == Mask("attention_mask", 1)


def test_one_of_two_lengths_may_be_declared(runner):
    padding = found(runner, length_models.two_lengths(), {"b": 1.5}).padding
    assert padding.inputs == {"b": Padded(1, 1.5)}
    assert padding.outputs == {"z": (1,)}


@pytest.mark.parametrize(
    ("serialised", "pad", "reason"),
    [
        (length_models.mean(), {"ids": 0}, r"it cannot be padded, as batching\.pad demands: output 'y' is another one"),
        (length_models.attention(), {"attention_mask": 0, "ids": 50}, "a padded batch fails where each row alone does"),
        (length_models.attention(), {"ids": 0}, "it cannot be padded, as batching.pad demands"),
        (length_models.mean(), {"idz": 0}, "batching.pad names input 'idz', the model's inputs are 'ids'"),
        (onnx_models.two_inputs_with_default(), {"offset": 0}, "input 'offset', which may be left out"),
        (length_models.mean(), {"ids": "no"}, "batching.pad fills input 'ids', INT64, with 'no'"),
        (onnx_models.mlp(), {"x": 0}, r"input 'x', which has 0 free axes besides the first: its shape is \[-1, 64\]"),
        (onnx_models.convolution(), {"image": 0}, "input 'image', which has 2 free axes besides the first"),
        (
            onnx_models.cumsum_axis0(shape=("n", "k")),
            {"x": 0},
            "as batching.pad demands: it is not batchable: row 1 of output 'y'",
        ),
    ],
)
def test_what_is_declared_and_impossible_fails_to_load(runner, serialised, pad, reason):
    with pytest.raises(LoadFailed, match=reason):
        found(runner, serialised, pad)


def test_a_model_that_takes_no_synthetic_inputs_is_not_padded(runner):
    def fussy(inputs):
        raise RuntimeError("[ONNXRuntimeError] : 1 : FAIL : not these")

    verdict = found(runner, length_models.running_sums(), run=fussy)
    assert verdict.reason == "not padded: it could not be tried, as synthetic inputs fail"
    with pytest.raises(LoadFailed, match="it could not be tried"):
        found(runner, length_models.running_sums(), {"x": 0}, run=fussy)


def test_outputs_that_differ_from_run_to_run_are_not_compared(runner):
    signature, run = runner(length_models.running_sums())
    noise = np.random.default_rng(0)

    def noisy(inputs):
        outputs = run(inputs)
        return {**outputs, "noise": noise.random(len(outputs["y"]))}

    verdict = probe(ID, signature, BatchingLimits(), noisy)
    assert find_padding(ID, signature, "auto", verdict, noisy).padding is not None


def test_batches_of_some_rows_and_lengths_are_timed_for_so_long(runner):
    signature, run = runner(length_models.attention())
    verdict = probe(ID, signature, BatchingLimits(), run)
    now = 0.0

    def clock():
        nonlocal now
        now += GRID_S / 16
        return now

    costs = find_padding(ID, signature, "auto", verdict, run, clock).costs
    known = [(rows, 4, seconds) for rows, seconds in verdict.curve]
    assert len(known) > 3
    assert costs[: len(known)] == known
    assert [(rows, length) for rows, length, _ in costs[len(known) :]] == [(1, 16), (4, 16), (1, 64)]


def test_the_log_says_what_was_found(load, caplog):
    with caplog.at_level(logging.INFO, "headrace.executor"):
        loaded = load(length_models.attention())
        load(length_models.mean())
    padded, refused = [record.getMessage() for record in caplog.records]
    assert (
        "each row is the same alone; padded: 'ids' with 0, 'attention_mask' with 0; 'attention_mask' is made" in padded
    )
    assert "; not padded: output 'y' is another one when a row of 5 is padded to 17" in refused
    assert loaded.metadata.padding.mask == Mask("attention_mask", 1)
    assert len(loaded.costs) > 3
