"""May requests of different lengths share a batch of this model, filled up at the end? Asked of the model itself.

Receives a signature, what is configured and a runner, hands a `PaddingVerdict` to `load`. A candidate has one free axis
besides the first in some of its inputs, of the same name in all of them. It is tried (`padding_trial`): rows of three
lengths must come out the same alone and padded together, but for rounding. That refuses models that look at what is
filled in: a mean over all positions, the last position, attention without a mask. Filled in is 0, or what is
configured. An input of rank 2 with "mask" in its name says what is real: 1 or, if that does not do it, 0.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from executor.metadata import Signature
from executor.padding_trial import PaddingTrial
from executor.probe import Verdict
from executor.runners import Runner
from executor.samples import samples
from headrace.datatypes import Datatype
from headrace.errors import LoadFailed
from headrace.models import ModelId, TensorSpec
from headrace.padding import Filling, Mask, Padded, Padding
from headrace.requests import Array

Axes: TypeAlias = dict[str, int]
"""Input -> its axis that is the length."""

MASK = "mask"
GRID = ((1, 4), (4, 4), (1, 16), (4, 16), (16, 4), (16, 16))
"""Rows of the batches that are timed, and by how much they are longer than what the probe has timed."""
GRID_S = 0.3
"""Longest time for all of them."""


@dataclass(slots=True)
class PaddingVerdict:
    """What was found. `reason` is half a sentence for the log, "" where there is nothing to say."""

    padding: Padding | None = None
    reason: str = ""
    costs: list[tuple[int, int, float]] = field(default_factory=list)
    """(rows, length, seconds) of warm runs, if it is padded."""


def find_padding(
    model: ModelId,
    signature: Signature,
    pad: str | bool | Mapping[str, Filling],
    batched: Verdict,
    run: Runner,
    clock: Callable[[], float] = time.perf_counter,
) -> PaddingVerdict:
    """Blocking: some dozen small runs. `batched` is what the probe has found.

    Raises LoadFailed if padding is declared and not possible.
    """
    declared = None if isinstance(pad, (str, bool)) else pad
    found = _common_axes(signature) if declared is None else _declared_axes(model, signature, declared)
    if pad is False or not found or (declared is None and not batched.batchable):
        return PaddingVerdict()
    if not batched.batchable:
        verdict = PaddingVerdict(reason=f"it is not batchable: {batched.reason}")
    elif not batched.free:
        verdict = PaddingVerdict(reason="it could not be tried, as synthetic inputs fail")
    elif isinstance(found, str):
        verdict = PaddingVerdict(reason=found)
    else:
        verdict = _try_all(signature, found, declared or {}, run, batched.free)
    if verdict.padding is not None:
        verdict.costs = [(rows, batched.free, seconds) for rows, seconds in batched.curve]
        verdict.costs += _time(signature, verdict.padding, run, batched.free, clock)
    elif declared is not None:
        raise LoadFailed(f"model {model}: it cannot be padded, as batching.pad demands: {verdict.reason}")
    else:
        verdict.reason = f"not padded: {verdict.reason}"
    return verdict


def _common_axes(signature: Signature) -> Axes | str:
    """Where the only length of all inputs is; why there are more, or the like; empty: there is none."""
    axes: Axes = {}
    names = set()
    for spec in signature.inputs:
        inner = _free_axes(spec)
        if spec.optional or not inner:
            continue
        if len(inner) > 1:
            return f"input {spec.name!r} has {len(inner)} free axes besides the first, not one"
        axes[spec.name] = inner[0]
        names.add(signature.axes[spec.name][inner[0]])
    if len(names) > 1:
        return f"the free axes of the inputs have different names: {', '.join(sorted(map(str, names)))}"
    return axes


def _declared_axes(model: ModelId, signature: Signature, declared: Mapping[str, Filling]) -> Axes:
    specs = {spec.name: spec for spec in signature.inputs}
    axes: Axes = {}
    for name, value in declared.items():
        spec = specs.get(name)
        if spec is None:
            known = ", ".join(map(repr, specs))
            raise LoadFailed(f"model {model}: batching.pad names input {name!r}, the model's inputs are {known}")
        if spec.optional:
            raise LoadFailed(
                f"model {model}: batching.pad names input {name!r}, which may be left out: it is not padded"
            )
        inner = _free_axes(spec)
        if len(inner) != 1:
            raise LoadFailed(
                f"model {model}: batching.pad names input {name!r}, which has {len(inner)} free axes besides the first:"
                f" its shape is {list(spec.shape)}, and one is needed"
            )
        if not _fits(value, spec.datatype):
            raise LoadFailed(f"model {model}: batching.pad fills input {name!r}, {spec.datatype.wire}, with {value!r}")
        axes[name] = inner[0]
    return axes


def _free_axes(spec: TensorSpec) -> list[int]:
    return [axis for axis, length in enumerate(spec.shape) if axis and length == -1]


def _fits(value: Filling, datatype: Datatype) -> bool:
    if datatype is Datatype.BYTES:
        return isinstance(value, str)
    if datatype is Datatype.BOOL:
        return isinstance(value, bool)
    if datatype.is_float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, int) and not isinstance(value, bool) and (value >= 0 or "UINT" not in datatype.wire)


def _try_all(
    signature: Signature, axes: Axes, declared: Mapping[str, Filling], run: Runner, free: int
) -> PaddingVerdict:
    """The first way of telling the model what is real under which padded rows are what they are alone."""
    first = ""
    for inputs, mask in _ways(signature, axes, declared):
        trial = PaddingTrial(signature, inputs, mask, run, free)
        complaint = trial.complaint()
        if complaint is None:
            filled = ", ".join(f"{name!r} with {padded.value!r}" for name, padded in inputs.items())
            made = f"; {mask.name!r} is made where it is not sent" if mask is not None else ""
            return PaddingVerdict(Padding(inputs, trial.outputs, mask), f"padded: {filled}{made}")
        first = first or complaint
    return PaddingVerdict(reason=first)


def _ways(
    signature: Signature, axes: Axes, declared: Mapping[str, Filling]
) -> Iterator[tuple[dict[str, Padded], Mask | None]]:
    datatypes = {spec.name: spec.datatype for spec in signature.inputs}
    ranks = {spec.name: len(spec.shape) for spec in signature.inputs}
    inputs = {name: Padded(axis, declared.get(name, _nothing(datatypes[name]))) for name, axis in axes.items()}
    masks = [name for name in axes if MASK in name.lower() and ranks[name] == 2 and len(axes) > 1]
    numeric = len(masks) == 1 and datatypes[masks[0]] is not Datatype.BYTES
    if not numeric:
        yield inputs, None
        return
    (name,) = masks
    for filling in (0, 1) if name not in declared else (declared[name],):
        kind = bool if datatypes[name] is Datatype.BOOL else float if datatypes[name].is_float else int
        value, real = kind(filling), kind(not filling)
        yield {**inputs, name: Padded(axes[name], value)}, Mask(name, real)


def _nothing(datatype: Datatype) -> Filling:
    return "" if datatype is Datatype.BYTES else False if datatype is Datatype.BOOL else 0


def _time(
    signature: Signature, padding: Padding, run: Runner, free: int, clock: Callable[[], float]
) -> list[tuple[int, int, float]]:
    """What batches of some rows and lengths take, the time for it being limited."""
    costs: list[tuple[int, int, float]] = []
    begun = clock()
    for rows, longer in GRID:
        took = []
        try:
            inputs = sized(samples(signature, rows, free), padding, longer * free)
            for _ in range(3):  # the first of a shape allocates
                started = clock()
                run(inputs)
                took.append(clock() - started)
        except Exception:
            break
        costs.append((rows, longer * free, min(took[1:])))
        if clock() - begun > GRID_S:
            break
    return costs


def sized(inputs: Mapping[str, Array], padding: Padding, length: int) -> dict[str, Array]:
    """These inputs at another length: what they hold, again and again; all of it real."""
    made = dict(inputs)
    for name, padded in padding.inputs.items():
        array = inputs[name]
        made[name] = array.take(range(length), axis=padded.axis, mode="wrap")
        if padding.mask is not None and name == padding.mask.name:
            made[name][...] = padding.mask.real
    return made
