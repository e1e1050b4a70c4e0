"""The mask that a client did not send: all of its rows are real."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from headrace.models import ModelMetadata
from headrace.padding import Mask
from headrace.requests import Array


class Masks:
    """Makes the masks of one model, which has `mask`."""

    def __init__(self, metadata: ModelMetadata, mask: Mask) -> None:
        assert metadata.padding is not None
        self.name = mask.name
        self._real = mask.real
        self._dtype = {spec.name: spec.datatype.numpy for spec in metadata.inputs}[mask.name]
        self._others = [(name, how.axis) for name, how in metadata.padding.inputs.items() if name != mask.name]

    def made_for(self, inputs: Mapping[str, Array], rows: int) -> Array:
        """One for inputs that are all there but for it: as long as the first that has a length."""
        name, axis = self._others[0]
        return np.full((rows, inputs[name].shape[axis]), self._real, self._dtype)
