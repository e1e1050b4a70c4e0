"""What a model is to the rest of the server: its id, and the tensors it takes and gives.

Invariants: 1. A `ModelMetadata` never changes after load. 2. Shapes are those of the model, batch axis included; -1 is
a free dimension. 3. If `batchable`, axis 0 of every input and output counts rows and rows do not influence each other.
4. With `padding`, a row is the same padded and alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # who only names models, as the supervisor does, needs no numpy
    from headrace.datatypes import Datatype
    from headrace.padding import Padding


@dataclass(frozen=True, slots=True, order=True)
class ModelId:
    """One version of one model."""

    name: str
    version: int

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """What one input or output of a model looks like. `labels` name the classes of a classification output."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    optional: bool = False
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """Name, platform and tensors of one loaded model version."""

    id: ModelId
    platform: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batchable: bool
    padding: Padding | None = None

    @property
    def one_shape(self) -> bool:
        """All requests have the same inputs, whose rows are of one shape; if it is not batchable, the whole inputs."""
        shapes = [spec.shape[1:] if self.batchable else spec.shape for spec in self.inputs]
        return not any(-1 in shape for shape in shapes) and not any(spec.optional for spec in self.inputs)

    @property
    def row_bytes(self) -> int:
        """Bytes that the input tensors of a row have at least, those of the whole request if it is not batchable."""
        needed = [spec for spec in self.inputs if not spec.optional]
        shapes = [spec.shape[1:] if self.batchable else spec.shape for spec in needed]
        items = [math.prod(max(dim, 0) for dim in shape) for shape in shapes]
        return sum(count * spec.datatype.item_bytes for count, spec in zip(items, needed, strict=True))
