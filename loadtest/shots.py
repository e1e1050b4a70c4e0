"""What is sent: requests for the models of a server, from metadata or files to bytes, or bodies as they are given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TypeAlias

from loadtest import inputs, mixture
from loadtest.answers import Check, Tolerance
from loadtest.client import Client
from loadtest.examples import examples
from loadtest.local import runner
from loadtest.raw import read
from loadtest.shot import Shot, Shots
from loadtest.target import Model, Target, TargetError
from loadtest.tensors import Headers, Tensors

FIRST = "first"
"""Expected is the first answer to the same input."""
DISTINCT = 16
Files: TypeAlias = Mapping[str, Path]
"""Of models by their names as they were asked for; "": of all others."""


@dataclass(frozen=True, slots=True)
class Wish:
    """How requests are made: from `files`, or made up with so many rows and these lengths of free axes."""

    shapes: inputs.Shapes = field(default_factory=dict)
    rows: int = 1
    distinct: int | None = None
    """At most; None: all that are in a file, or `DISTINCT`."""
    seed: int = 1
    tolerance: Tolerance | None = None
    """Of answers that are checked; None: they are not looked at."""
    files: Files = field(default_factory=dict)
    expected: Files = field(default_factory=dict)
    """Outputs, or model files that make them; without one the first answer is right."""


def models_for(target: Target, names: Iterable[str]) -> dict[str, Model]:
    """The models that are named, by name, or all that are ready. Raises TargetError."""
    models = {name: target.model(name) for name in list(names) or _ready(target)}
    if not models:
        raise TargetError(f"{target.url} has no model that is ready")
    return models


def _ready(target: Target) -> list[str]:
    try:
        return target.models()
    except TargetError as error:  # some servers do not tell
        raise TargetError(f"{error}; --model names what to ask") from None


def shots_for(target: Target, models: Mapping[str, Model], weights: Mapping[str, float], wish: Wish) -> Shots:
    """Requests for these models by their weights, 1 if none is given. Raises ValueError."""
    known = {tensor.name for model in models.values() for tensor in model.inputs}
    for name in wish.shapes.keys() - known:
        raise ValueError(f"--shape: no model has an input {name!r}; there are {', '.join(sorted(known))}")
    parts = {name: _shots(target, name, model, wish) for name, model in models.items()}
    return mixture.mixed([(shots, weights.get(name, 1.0)) for name, shots in parts.items()])


def _shots(target: Target, name: str, model: Model, wish: Wish) -> Shots:
    tensors, expected = _examples(name, model, wish)
    order = list(range(len(tensors)))
    if name in wish.files or "" in wish.files:
        Random(wish.seed).shuffle(order)
    decode, tolerance = target.decode(model), wish.tolerance
    return [
        Shot(
            model.full_name,
            target.request(model, tensors[number]),
            Check(decode, tolerance, expected[number] if expected else None) if tolerance else None,
        )
        for number in order[: wish.distinct]
    ]


def _examples(name: str, model: Model, wish: Wish) -> tuple[list[Tensors], list[Tensors]]:
    """The tensors of all requests, and of their answers if they are known."""
    file, expected = _of(wish.files, name), _of(wish.expected, name)
    if file is not None:
        tensors = examples(file, model.inputs, wish.rows)
    else:
        tensors = list(inputs.made(model, wish.shapes, wish.rows, wish.distinct or DISTINCT, wish.seed))
    if expected is None:
        return tensors, []
    if expected.suffix == ".onnx":
        return tensors, list(map(runner(expected), tensors))
    if file is None:
        raise ValueError(f"--check {expected}: what is expected of which inputs? Give them with --input")
    answers = examples(expected, model.outputs, wish.rows)
    if len(answers) != len(tensors):
        raise ValueError(f"--check {expected} has {len(answers)} answers, --input {file} makes {len(tensors)} requests")
    return tensors, answers


def _of(files: Files, name: str) -> Path | None:
    return files.get(name, files.get(""))


def raw_shots(client: Client, bodies: Sequence[tuple[Headers, bytes]], tolerance: Tolerance | None) -> Shots:
    """Requests for what the URL names: a POST of each body, or a GET."""
    path = client.where.path or "/"
    requests = [client.request("POST", path, *body) for body in bodies] or [client.request("GET", path, {})]
    return [Shot(path, request, Check(read, tolerance) if tolerance else None) for request in requests]
