"""What a server has: which models are ready, and what their inputs and outputs look like. Before the load.

Everything that can be wrong with a server or a model is a `TargetError` with one sentence. `rest`, `predict` and `rpc`
are the servers that there are; all of them turn tensors into the bytes of a request, and answers into tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from headrace.datatypes import BY_NAME, Datatype
from loadtest.answers import Decode
from loadtest.tensors import Tensors

TIMEOUT_S = 10.0


class TargetError(Exception):
    """There is nothing to send requests to."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output by its metadata; -1 in `shape` is any length."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Model:
    """A model that is ready."""

    name: str
    version: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...] = ()

    @property
    def full_name(self) -> str:
        """`NAME` or `NAME/VERSION`."""
        return f"{self.name}/{self.version}" if self.version else self.name


class Target(Protocol):
    """A server. A context manager, as it holds a client."""

    url: str

    def __enter__(self) -> Target: ...

    def __exit__(self, *_: object) -> None: ...

    def models(self) -> list[str]:
        """Names of the models that are ready. Raises TargetError."""
        ...

    def model(self, name: str) -> Model:
        """`NAME` or `NAME/VERSION`, with what it takes. Raises TargetError."""
        ...

    def request(self, model: Model, tensors: Tensors) -> bytes:
        """The bytes of an infer request, ready to be sent."""
        ...

    def decode(self, model: Model) -> Decode:
        """How its answers are read."""
        ...

    def statistics(self, model: Model) -> Sequence[Any]:
        """V2's `model_stats` of it, a row for each version. Raises TargetError where there are none."""
        ...


def tensor(model: str, name: str, datatype: str, shape: tuple[int, ...]) -> Tensor:
    """From what a server says in V2's words. Raises TargetError."""
    known = BY_NAME.get(datatype)
    if known is None:
        raise TargetError(f"model {model!r}: tensor {name!r} has the unknown datatype {datatype!r}")
    return Tensor(name, known, shape)
