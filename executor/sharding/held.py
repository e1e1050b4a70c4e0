"""A stage on a GPU: what it gives stays there until it is copied, at once, to where the next stage reads it.

By I/O binding: `session.run` would copy outputs to memory of its own, from where they were copied again into the arena.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from executor.metadata import Signature
from executor.runners import quiet, value_of
from headrace.requests import Array


class Held(NamedTuple):
    """An output on the device, as long as `value`, its OrtValue, is there."""

    value: Any
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """As of an array."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    @property
    def address(self) -> int:
        """Where it is, among the addresses of the device."""
        return int(self.value.data_ptr())


class HeldRunner:
    """Runs `session`, which takes and gives numbers; what it gives stays on `device` (ONNX Runtime's name) `number`."""

    def __init__(self, session: Any, signature: Signature, device: str, number: int) -> None:
        self._session = session
        self._outputs = signature.outputs
        self._device = device, number
        self._options = quiet()

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Held]:
        """One run. Raises what ONNX Runtime raises."""
        binding = self._session.io_binding()
        for name, array in inputs.items():
            binding.bind_ortvalue_input(name, value_of(array))
        for spec in self._outputs:
            binding.bind_output(spec.name, *self._device)
        binding.synchronize_inputs()
        self._session.run_with_iobinding(binding, self._options)
        binding.synchronize_outputs()
        return {
            spec.name: Held(value, tuple(value.shape()), spec.datatype.numpy)
            for spec, value in zip(self._outputs, binding.get_outputs(), strict=True)
        }
