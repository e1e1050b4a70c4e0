"""The requests for the models of a V2 server: from metadata to bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

from loadtest import inputs
from loadtest.answers import Check, Tolerance
from loadtest.shot import Shot, Shots
from loadtest.target import Model, Target, TargetError


@dataclass(frozen=True, slots=True)
class Wish:
    """How requests are made: lengths of free axes by input, rows, different inputs per model."""

    shapes: inputs.Shapes
    rows: int = 1
    distinct: int = 16
    seed: int = 1
    tolerance: Tolerance | None = None
    """Of answers to the same input; None: they are not looked at."""


def shots_for(target: Target, names: Sequence[str], wish: Wish) -> Shots:
    """Requests for these models, or for all that are ready, in turns. Raises TargetError, ValueError."""
    models = [target.model(name) for name in names or target.models()]
    if not models:
        raise TargetError(f"{target.url} has no model that is ready")
    known = {tensor.name for model in models for tensor in model.inputs}
    for name in wish.shapes.keys() - known:
        raise ValueError(f"--shape: no model has an input {name!r}; there are {', '.join(sorted(known))}")
    turns = zip_longest(*(_shots(target, model, wish) for model in models))
    return [shot for shot in chain.from_iterable(turns) if shot is not None]


def _shots(target: Target, model: Model, wish: Wish) -> Shots:
    made = inputs.made(model, wish.shapes, wish.rows, wish.distinct, wish.seed)
    requests = [target.request(model, tensors) for tensors in made]
    tolerance = wish.tolerance
    return [Shot(model.name, request, Check(tolerance) if tolerance else None) for request in requests]
