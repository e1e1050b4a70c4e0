"""How requests of different lengths are made alike: what is filled up, with what, and what is cut back afterwards.

Found and proven at load by the `executor` package; read by the data plane (who may share a batch), and by the batcher,
which puts together and takes apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

Filling: TypeAlias = bool | int | float | str


@dataclass(frozen=True, slots=True)
class Padded:
    """One input: its `axis`, at least 1, is the length, and is filled up at the end with `value`."""

    axis: int
    value: Filling


@dataclass(frozen=True, slots=True)
class Mask:
    """The input that says what is real; made by the server, all `real`, where the client sends none."""

    name: str
    real: Filling


@dataclass(frozen=True, slots=True)
class Padding:
    """All padded inputs of a model; a request has one length, the same in all of them.

    `outputs` has the axes that are as long as the inputs were; padded answers are cut back there.
    """

    inputs: Mapping[str, Padded]
    outputs: Mapping[str, tuple[int, ...]]
    mask: Mask | None = None
