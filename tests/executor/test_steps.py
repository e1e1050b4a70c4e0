"""Runtimes that prepare themselves for every size of a batch: found out, and given few sizes only."""

import numpy as np
import onnx_models
import pytest

from executor.probe import probe
from executor.steps import in_steps
from executor.sweep import FRESH_S, PREPARING_S, ladder
from headrace.batching import BatchingLimits
from headrace.models import ModelId

ID = ModelId("m", 1)


class Compiling:
    """A runner by whose clock the first run of a size takes `fresh_s` more, and a row `row_s`.

    `forgets`: so does the first after another size.
    """

    def __init__(self, run, fresh_s, row_s=0.0001, forgets=False):
        self.run, self.fresh_s, self.row_s, self.forgets = run, fresh_s, row_s, forgets
        self.now, self.seen = 0.0, []

    def __call__(self, inputs):
        rows = len(inputs["x"])
        self.now += rows * self.row_s + (0 if rows in self.seen[-1 if self.forgets else 0 :] else self.fresh_s)
        self.seen.append(rows)
        return self.run(inputs)

    def clock(self):
        return self.now


def probed(runner, fresh_s, enabled="auto", serialised=None, max_batch_rows=20, **more):
    signature, run = runner(serialised or onnx_models.mlp())
    compiling = Compiling(run, fresh_s, **more)
    limits = BatchingLimits(enabled=enabled, max_batch_rows=max_batch_rows)
    return probe(ID, signature, limits, compiling, compiling.clock), compiling


@pytest.mark.parametrize(
    ("max_rows", "sizes"),
    [
        (1, (1,)),
        (2, (1, 2)),
        (5, (1, 2, 3, 4, 5)),
        (64, (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)),
        (70, (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 70)),
    ],
)
def test_the_ladder_ends_at_the_largest_batch(max_rows, sizes):
    assert ladder(max_rows) == sizes


@pytest.mark.parametrize(("max_rows", "sizes"), [(1, (1,)), (5, (1, 4, 5)), (64, (1, 4, 16, 64))])
def test_a_coarse_ladder_has_few_steps(max_rows, sizes):
    assert ladder(max_rows, coarse=True) == sizes


def test_sizes_that_are_slow_at_first_become_steps_which_are_all_prepared(runner):
    verdict, compiling = probed(runner, 0.04)
    assert verdict.steps == (1, 2, 3, 4, 6, 8, 12, 16, 20)
    assert set(verdict.steps) <= set(compiling.seen)
    assert verdict.reason.endswith(
        "in batches of 1, 2, 3, 4, 6, 8, 12, 16, 20 rows, as the first of a size takes 40 ms more"
    )


def test_a_session_that_forgets_gets_fewer_sizes_with_a_session_each(runner):
    verdict, _ = probed(runner, 0.04, forgets=True)
    assert verdict.forgets
    assert verdict.steps == (1, 4, 16, 20)
    assert not probed(runner, 0.04)[0].forgets


def test_the_curve_of_steps_has_both_ends_of_each(runner):
    verdict, _ = probed(runner, 0.04, max_batch_rows=8)
    rows = [(1, 1), (2, 2), (3, 3), (4, 4), (5, 6), (6, 6), (7, 8), (8, 8)]
    assert verdict.curve == [(each, pytest.approx(step * 0.0001)) for each, step in rows]


@pytest.mark.parametrize(
    ("fresh_s", "row_s"),
    [
        (0.0, 0.0001),
        (FRESH_S / 2, 0.0001),  # what allocating takes
        (0.04, 0.02),  # little beside the run itself
    ],
)
def test_sizes_that_are_hardly_slower_at_first_may_be_any(runner, fresh_s, row_s):
    verdict, _ = probed(runner, fresh_s, row_s=row_s)
    assert verdict.steps == ()
    assert verdict.curve
    assert verdict.reason == "each row is the same alone"


def test_preparing_ends_before_it_takes_too_long(runner):
    verdict, compiling = probed(runner, 1.5, max_batch_rows=1000)
    assert verdict.steps == (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)[: len(verdict.steps)]
    assert len(verdict.steps) > 4
    assert compiling.now < PREPARING_S + 5 * 1.5 + 1  # 1 and 3 rows before, and three that told


def test_rows_that_depend_on_each_other_are_never_filled_up(runner):
    verdict, _ = probed(runner, 0.04, enabled=True, serialised=onnx_models.attention_axis0())
    assert verdict.batchable
    assert verdict.steps == ()


@pytest.mark.parametrize(("rows", "run_with", "by"), [(1, 1, 0), (2, 2, 1), (3, 4, 2), (4, 4, 2), (5, 5, 2)])
def test_a_batch_is_filled_up_to_the_next_step_with_its_last_row_and_cut_again(rows, run_with, by):
    seen = []

    def runner(number):
        def run(inputs):
            seen.append((number, inputs))
            return {"y": inputs["x"] * 2, "text": inputs["text"]}

        return run

    x = np.arange(rows * 2.0).reshape(rows, 2)
    text = np.array([str(row) for row in range(rows)], object)
    outputs = in_steps((1, 2, 4), [runner(number) for number in range(3)])({"x": x, "text": text})
    ((number, given),) = seen
    assert number == by
    assert given["x"].tolist() == [*x.tolist(), *[x[-1].tolist()] * (run_with - rows)]
    assert len(given["text"]) == run_with
    assert outputs["y"].tolist() == (x * 2).tolist()
    assert outputs["text"].tolist() == text.tolist()
