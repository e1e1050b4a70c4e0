"""May this model's requests share a batch? Asked of the model itself, which is also its warm-up.

Receives a signature and a runner, hands a `Verdict` to `load`. A model is a candidate if axis 0 of all its inputs and
outputs is free. A candidate is run with ROWS rows and with each of them alone: it is batchable if every output has as
many rows as went in and each row is what it is alone. That refuses models whose first axis is a sequence (cumsum,
attention), or which normalise over the batch. Not held against a model: outputs that differ between two identical
runs (random operators), and failing on synthetic inputs, which says nothing about real ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from executor.failures import readable
from executor.likeness import alike
from executor.metadata import Signature
from executor.runners import Runner
from executor.samples import samples
from executor.sweep import Timed, sweep
from headrace.batching import BatchingLimits
from headrace.errors import LoadFailed
from headrace.models import ModelId
from headrace.requests import Array

Tensors: TypeAlias = dict[str, Array]

ROWS = 3
FREE_LENGTHS = (4, 32, 224)
"""Tried in turn for free axes other than the first: convolutions need some length, 224 is what image models expect."""


@dataclass(slots=True)
class Verdict:
    """What the probe found. `reason` is half a sentence for the log, `runs` are (elements, seconds) of warm runs.

    `inputs` are synthetic ones that the model takes, empty if none were found; `ranks` are those of its outputs then.
    """

    batchable: bool
    reason: str
    inputs: dict[str, Array] = field(default_factory=dict)
    ranks: dict[str, int] = field(default_factory=dict)
    free: int = 0
    """The length of free axes in them."""
    runs: list[tuple[int, float]] = field(default_factory=list)
    curve: list[tuple[int, float]] = field(default_factory=list)
    """(rows, seconds) of warm runs, if it is batchable."""
    steps: tuple[int, ...] = ()
    """Sizes that batches should be filled up to; empty: any will do."""
    forgets: bool = False
    """Each of them needs a session of its own."""


def probe(
    model: ModelId,
    signature: Signature,
    limits: BatchingLimits,
    run: Runner,
    clock: Callable[[], float] = time.perf_counter,
) -> Verdict:
    """Warm up and decide. Blocking: some ten small runs. Raises LoadFailed if batching is demanded and impossible."""
    blocked = fixed_axis(signature)
    if limits.enabled is True and blocked:
        raise LoadFailed(f"model {model}: batching.enabled is true, but {blocked}")
    if limits.enabled is False:
        blocked = "batching.enabled is false"
    verdict = Verdict(blocked is None, blocked or "")
    timed = Timed(run, clock, verdict.runs)
    attempt = _first_runs(signature, timed, 1 if blocked else ROWS)
    if isinstance(attempt, str):
        verdict.reason = f"{blocked or 'axis 0 is free'}; not tried, as synthetic inputs fail: {attempt}"
        return verdict
    free, inputs, outputs, again = attempt
    verdict.free = free
    verdict.inputs, verdict.ranks = inputs, {name: array.ndim for name, array in outputs.items()}
    del verdict.runs[:-1]  # all but the last run paid for allocations
    if blocked:
        return verdict
    objection = wrong_rows(outputs)
    if objection and limits.enabled is True:
        raise LoadFailed(f"model {model}: batching.enabled is true, but {objection}")
    objection = objection or _rows_interact(inputs, outputs, again, timed)
    verdict.batchable = objection is None or limits.enabled is True
    verdict.reason = "each row is the same alone" if objection is None else objection
    if objection and limits.enabled is True:
        verdict.reason += "; batched nevertheless, as batching.enabled is true"
    if verdict.batchable:
        found = sweep(signature, timed, free, limits.max_batch_rows, (1, ROWS))
        verdict.curve = found.curve
        if found.steps and not objection:
            verdict.steps, verdict.forgets = found.steps, found.forgets
            verdict.reason += f"; in batches of {', '.join(map(str, found.steps))} rows, as the first of a size takes "
            verdict.reason += f"{found.fresh_s * 1e3:.0f} ms more"
    return verdict


def fixed_axis(signature: Signature) -> str | None:
    """Why axis 0 cannot count rows, as far as the shapes say; None if it can."""
    for role, specs in (("input", signature.inputs), ("output", signature.outputs)):
        for spec in specs:
            if spec.name in signature.unranked:
                continue
            if not spec.shape:
                return f"{role} {spec.name!r} is a scalar"
            if spec.shape[0] != -1:
                return f"axis 0 of {role} {spec.name!r} is fixed at {spec.shape[0]}"
    return None if signature.inputs else "the model has no inputs"


def wrong_rows(outputs: Mapping[str, Array]) -> str | None:
    """Why these outputs of a run with ROWS rows do not have ROWS rows; None if they do."""
    for name, array in outputs.items():
        if not array.ndim or array.shape[0] != ROWS:
            return f"output {name!r} has shape {list(array.shape)} for {ROWS} rows"
    return None


def _first_runs(signature: Signature, run: Runner, rows: int) -> tuple[int, Tensors, Tensors, Tensors] | str:
    """Free length, inputs and the outputs of two runs of them, or the first complaint if no length is accepted."""
    failure = ""
    for free in FREE_LENGTHS:
        try:
            inputs = samples(signature, rows, free)
            return free, inputs, run(inputs), run(inputs)
        except Exception as error:
            failure = failure or readable(str(error))
    return failure


def _rows_interact(
    inputs: Mapping[str, Array], outputs: Mapping[str, Array], again: Mapping[str, Array], run: Runner
) -> str | None:
    steady = [name for name, array in outputs.items() if alike(array, again[name])]
    for row in range(ROWS):
        try:
            alone = run({name: array[row : row + 1] for name, array in inputs.items()})
        except Exception as error:
            return f"a row alone fails where {ROWS} together do not: {readable(str(error))}"
        for name, array in alone.items():
            if not array.ndim or array.shape[0] != 1:
                return f"output {name!r} has shape {list(array.shape)} for 1 row"
            if name in steady and not alike(array, outputs[name][row : row + 1]):
                return f"row {row} of output {name!r} is another one when its batch mates are missing"
    return None
