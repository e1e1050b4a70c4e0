"""What is to be divided: units of work in a line, the values that pass between them, the weights that they need.

Made by `units` from a graph, taken by `spans` and `plan`, which know nothing of ONNX. A unit is never cut. Pure data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

LARGE = 1 << 20
"""Weights from this size on are kept in one stage if it can be; smaller ones are copied into all that use them."""


@dataclass(frozen=True, slots=True)
class Passing:
    """A value that more than one unit knows, or that comes from outside or leaves."""

    name: str
    bytes: int
    maker: int
    """The unit that makes it; -1: the request brings it."""
    users: tuple[int, ...]
    """Units that take it, ascending; all come after its maker."""
    leaves: bool = False
    """It is an output of the model."""
    may_cross: bool = True
    """False: its maker and all users are in one stage, for it can be no stage's input."""


@dataclass(frozen=True, slots=True)
class Weight:
    """Bytes that each stage holds which has one of the users."""

    name: str
    bytes: int
    users: tuple[int, ...]

    @property
    def is_shared(self) -> bool:
        """Whether a copy of it would be a loss."""
        return self.bytes >= LARGE and len(self.users) > 1


@dataclass(frozen=True)
class Work:
    """Units 0 to n - 1 in an order in which each comes after what it needs."""

    names: Sequence[str]
    seconds: Mapping[str, Sequence[float]]
    """Kind of device -> what each unit takes there."""
    scratch: Sequence[int]
    """Bytes of what a unit makes and uses itself."""
    passing: Sequence[Passing]
    weights: Sequence[Weight]

    def __len__(self) -> int:
        return len(self.names)

    def ordered(self, order: Sequence[int]) -> Work:
        """The same with unit `order[p]` at place p."""
        place = {unit: at for at, unit in enumerate(order)}

        def places(users: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(sorted(place[user] for user in users))

        return Work(
            [self.names[unit] for unit in order],
            {kind: [each[unit] for unit in order] for kind, each in self.seconds.items()},
            [self.scratch[unit] for unit in order],
            [replace(p, maker=place.get(p.maker, -1), users=places(p.users)) for p in self.passing],
            [replace(weight, users=places(weight.users)) for weight in self.weights],
        )
