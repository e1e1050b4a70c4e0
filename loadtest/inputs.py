"""Inputs made from a model's metadata: random values of the right datatype and shape, the same for the same seed.

Free axes get a length: the first one of rank above 1 is taken for the batch and gets 1, others `LENGTH`, unless
`--shape` says otherwise: `NAME=8`, `NAME=8..64` (uniform) or `NAME=24~0.8` (lognormal: median, sigma) for input NAME's
free axes, `NAME=1,8..64` for each of them in turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log
from typing import Any

import numpy as np
import numpy.typing as npt

from headrace.datatypes import Datatype
from loadtest.target import Model, Tensor

LENGTH = 16
WORDS = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta")
MOST_SIGMA = 3.0
"""Then one of a thousand is ten thousand times as long as the median."""
LARGEST_INDEX = 100
"""Whole numbers are below: they may be indices into a vocabulary."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """Of one free axis: uniform from `least` to `most`."""

    least: int
    most: int

    def draw(self, random: np.random.Generator) -> int:
        """One of them."""
        return int(random.integers(self.least, self.most + 1))


@dataclass(frozen=True, slots=True)
class LogNormal:
    """Of one free axis, as lengths of texts are: many around the median, few that are much longer."""

    median: float
    sigma: float

    def draw(self, random: np.random.Generator) -> int:
        """One of them, 1 at least."""
        return max(1, round(random.lognormal(log(self.median), self.sigma)))


Shapes = dict[str, tuple[Lengths | LogNormal, ...]]
"""Input name -> lengths of its free axes, in order."""


def parse_shape(text: str) -> tuple[str, tuple[Lengths | LogNormal, ...]]:
    """`NAME=LENGTHS[,LENGTHS...]`. Raises ValueError with a sentence."""
    name, equals, lengths = text.partition("=")
    try:
        if not equals or not name:
            raise ValueError
        return name, tuple(_lengths(each) for each in lengths.split(","))
    except ValueError:
        raise ValueError(
            f"--shape {text}: expected NAME=8, NAME=8..64, NAME=24~0.8, or one of these per free axis"
        ) from None


def _lengths(text: str) -> Lengths | LogNormal:
    median, tilde, sigma = text.partition("~")
    if tilde:
        skewed = LogNormal(float(median), float(sigma))
        if not (1 <= skewed.median < inf and 0 <= skewed.sigma <= MOST_SIGMA):
            raise ValueError
        return skewed
    least, dots, most = text.partition("..")
    found = Lengths(int(least), int(most) if dots else int(least))
    if not 0 <= found.least <= found.most:
        raise ValueError
    return found


def made(model: Model, shapes: Shapes, rows: int, count: int, seed: int) -> list[dict[str, npt.NDArray[Any]]]:
    """`count` inputs. Axes that are free in several inputs get the same lengths, by position: they usually belong."""
    random = np.random.default_rng(seed)
    return [_one(model, shapes, rows, random) for _ in range(count)]


def _one(model: Model, shapes: Shapes, rows: int, random: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
    drawn: dict[int, int] = {0: rows}
    found = {}
    for tensor in model.inputs:
        shape = []
        asked = iter(shapes.get(tensor.name, ()))
        for axis, length in enumerate(tensor.shape):
            if length >= 0:
                shape.append(length)
                continue
            lengths = next(asked, None)
            if lengths is not None:
                drawn[axis] = lengths.draw(random)
            shape.append(drawn.setdefault(axis, LENGTH))
        found[tensor.name] = _values(tensor, tuple(shape), random)
    return found


def _values(tensor: Tensor, shape: tuple[int, ...], random: np.random.Generator) -> npt.NDArray[Any]:
    datatype = tensor.datatype
    if datatype is Datatype.BYTES:
        return random.choice(np.array(WORDS, object), shape)
    if datatype is Datatype.BOOL:
        return random.integers(0, 2, shape).astype(np.bool_)
    if datatype.is_float:
        return random.random(shape).astype(datatype.numpy)
    return random.integers(0, LARGEST_INDEX, shape).astype(datatype.numpy)
