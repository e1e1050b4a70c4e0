"""Which models batch: real ones whose rows are independent, and real ones whose rows are not."""

import numpy as np
import onnx_models
import pytest

from executor.probe import probe
from headrace.batching import BatchingLimits
from headrace.errors import LoadFailed
from headrace.models import ModelId

ID = ModelId("m", 1)


def limits(enabled="auto", max_batch_rows=8):
    return BatchingLimits(enabled=enabled, max_batch_rows=max_batch_rows)


@pytest.mark.parametrize(
    "serialised",
    [
        onnx_models.mlp(),
        onnx_models.gather(),
        onnx_models.two_inputs(),
        onnx_models.convolution(),  # fails on the first, small images; a larger one does it
        onnx_models.random_noise(),  # what differs between two identical runs is not held against it
        *(onnx_models.identity(datatype) for datatype in onnx_models.ONNX_TYPES),
        onnx_models.cumsum_axis0(shape=("n", 0)),  # nothing in a row, nothing to spoil
    ],
)
def test_models_with_independent_rows_batch(runner, serialised):
    signature, run = runner(serialised)
    verdict = probe(ID, signature, limits(), run)
    assert verdict.batchable
    assert verdict.reason == "each row is the same alone"


@pytest.mark.parametrize(
    ("serialised", "reason"),
    [
        (onnx_models.cumsum_axis0(), "row 1 of output 'y'"),
        (onnx_models.cumsum_axis0("INT64", ("n",)), "row 1 of output 'y'"),  # one number a row, 0 or 1
        (onnx_models.attention_axis0(), "row 0 of output 'y'"),
        (onnx_models.mean_over_batch(), "row 0 of output 'y'"),
        (onnx_models.fixed_batch(), "axis 0 of input 'x' is fixed at 1"),
        (onnx_models.scalar(), "input 'x' is a scalar"),
        (onnx_models.total(), "axis 0 of output 'y' is fixed at 1"),
        (onnx_models.two_inputs_with_default(), "axis 0 of input 'offset' is fixed at 1"),
        (onnx_models.two_inputs(("n", 4), (1, 4)), "axis 0 of input 'b' is fixed at 1"),
    ],
)
def test_models_with_dependent_rows_do_not(runner, serialised, reason):
    signature, run = runner(serialised)
    verdict = probe(ID, signature, limits(), run)
    assert not verdict.batchable
    assert verdict.reason.startswith(reason)


def test_an_output_with_another_number_of_rows_is_seen(runner):
    doubled = onnx_models.one_node(
        "Concat", [onnx_models.tensor("x", shape=("n", 2))] * 1, onnx_models.tensor("y", shape=("m", 2)), axis=0
    )
    signature, run = runner(doubled)

    def twice(inputs):
        return {name: np.concatenate([array, array]) for name, array in run(inputs).items()}

    verdict = probe(ID, signature, limits(), twice)
    assert verdict.reason == "output 'y' has shape [6, 2] for 3 rows"
    with pytest.raises(LoadFailed, match=r"enabled is true, but output 'y' has shape \[6, 2\] for 3 rows"):
        probe(ID, signature, limits(True), twice)


def test_rows_that_cannot_run_alone_do_not_batch(runner):
    signature, run = runner(onnx_models.mlp())

    def sociable(inputs):
        if inputs["x"].shape[0] == 1:
            raise RuntimeError("too few")
        return run(inputs)

    verdict = probe(ID, signature, limits(), sociable)
    assert not verdict.batchable
    assert verdict.reason == "a row alone fails where 3 together do not: too few"


def test_failing_on_synthetic_inputs_says_nothing(runner):
    signature, _ = runner(onnx_models.mlp())

    def fussy(inputs):
        raise RuntimeError("[ONNXRuntimeError] : 1 : FAIL : not these")

    verdict = probe(ID, signature, limits(), fussy)
    assert verdict.batchable
    assert verdict.reason == "axis 0 is free; not tried, as synthetic inputs fail: not these"
    assert verdict.inputs == {}


def test_switched_off_is_off_and_still_warmed_up(runner):
    signature, run = runner(onnx_models.mlp())
    verdict = probe(ID, signature, limits(False), run)
    assert not verdict.batchable
    assert verdict.reason == "batching.enabled is false"
    assert [work for work, _ in verdict.runs] == [64]


def test_demanded_and_impossible_fails_to_load(runner):
    signature, run = runner(onnx_models.fixed_batch())
    with pytest.raises(LoadFailed, match=r"m/1: batching\.enabled is true, but axis 0 of input 'x' is fixed at 1"):
        probe(ID, signature, limits(True), run)


def test_the_operator_may_overrule_the_probe(runner):
    signature, run = runner(onnx_models.attention_axis0())
    verdict = probe(ID, signature, limits(True), run)
    assert verdict.batchable
    assert verdict.reason.endswith("batched nevertheless, as batching.enabled is true")


def test_batches_of_many_sizes_are_timed_up_to_the_largest(runner):
    signature, run = runner(onnx_models.mlp())
    seen = []

    def watched(inputs):
        seen.append(inputs["x"].shape[0])
        return run(inputs)

    verdict = probe(ID, signature, limits(max_batch_rows=20), watched, clock=lambda: 0.0)
    sizes = [1, 2, 3, 4, 5, 8, 9, 16, 17, 20]
    assert seen == [3, 3, 1, 1, 1, *(rows for rows in sizes for _ in range(3))]
    assert [rows for rows, _ in verdict.curve] == sizes


def test_the_sweep_over_batch_sizes_ends_before_it_takes_long(runner):
    signature, run = runner(onnx_models.mlp())
    now = 0.0

    def slow(inputs):
        nonlocal now
        now += 0.005 * inputs["x"].shape[0]
        return run(inputs)

    verdict = probe(ID, signature, limits(max_batch_rows=1000), slow, clock=lambda: now)
    assert verdict.curve == [(rows, pytest.approx(0.005 * rows)) for rows in (1, 2, 3, 4, 5, 8, 9)]


def test_ranks_of_outputs_are_what_was_seen(runner):
    signature, run = runner(onnx_models.gather())
    assert probe(ID, signature, limits(), run).ranks == {"y": 3}
