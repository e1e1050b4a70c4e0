"""Turn a session into a function from input arrays to output arrays; which one is decided once, at load.

Receives sessions from `load`, hands runners to `onnx_executor` and `probe`. A runner may be called from any thread and
raises what ONNX Runtime raises. BF16 needs its own: the runtime has no numpy form of it, so those tensors travel as
OrtValues and their bits as uint16. Not possible: text inputs with BF16 outputs, as text has no OrtValue.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from executor import runtime
from executor.metadata import Signature
from headrace.datatypes import Datatype
from headrace.errors import LoadFailed
from headrace.models import ModelId
from headrace.requests import Array

Runner: TypeAlias = Callable[[Mapping[str, Array]], dict[str, Array]]

_ONNX_BFLOAT16 = 16


def runner_for(model: ModelId, session: Any, signature: Signature) -> Runner:
    """The runner for this session. Raises LoadFailed for the one combination that cannot be run."""
    halves_in = [spec.name for spec in signature.inputs if spec.datatype is Datatype.BF16]
    halves_out = [spec.name for spec in signature.outputs if spec.datatype is Datatype.BF16]
    if halves_out:
        for spec in signature.inputs:
            if spec.datatype is Datatype.BYTES:
                raise LoadFailed(
                    f"model {model}: ONNX Runtime cannot take text (input {spec.name!r}) and give BF16 "
                    f"(output {halves_out[0]!r}) in one run from Python; cast one of them in the model"
                )
        return _by_values(session, signature)
    return _with_bfloat16_inputs(session, signature, halves_in) if halves_in else _plain(session, signature)


def quiet() -> Any:
    """Options of a run that writes nothing to stderr."""
    # A client's bad index must not write to the server's stderr. One object kept also spares 1.5 us a run: with None
    # the runtime makes one each time.
    options = runtime.RunOptions()
    options.log_severity_level = 4
    return options


def _plain(session: Any, signature: Signature) -> Runner:
    names, options = [spec.name for spec in signature.outputs], quiet()
    # session.run checks names in Python, which the data plane has done, and takes 1.7 us for it.
    run = getattr(session, "_sess", session).run

    def plain(inputs: Mapping[str, Array]) -> dict[str, Array]:
        return dict(zip(names, run(names, inputs, options), strict=True))

    return plain


def _with_bfloat16_inputs(session: Any, signature: Signature, halves: list[str]) -> Runner:
    names, options = [spec.name for spec in signature.outputs], quiet()

    def with_bfloat16_inputs(inputs: Mapping[str, Array]) -> dict[str, Array]:
        feed: dict[str, Any] = dict(inputs)
        for name in halves:
            if name in feed:
                feed[name] = value_of(feed[name])
        return dict(zip(names, session.run(names, feed, options), strict=True))

    return with_bfloat16_inputs


def _by_values(session: Any, signature: Signature) -> Runner:
    names, options = [spec.name for spec in signature.outputs], quiet()
    halves_out = {spec.name for spec in signature.outputs if spec.datatype is Datatype.BF16}

    def by_values(inputs: Mapping[str, Array]) -> dict[str, Array]:
        feed = {name: value_of(array) for name, array in inputs.items()}
        values = session.run_with_ort_values(names, feed, options)
        return {
            name: _bfloat16_array(value) if name in halves_out else value.numpy()
            for name, value in zip(names, values, strict=True)
        }

    return by_values


def value_of(array: Array) -> Any:
    """The array, of numbers, as an OrtValue on the CPU, which looks at the array's memory."""
    if array.dtype != Datatype.BF16.numpy:
        return runtime.OrtValue.ortvalue_from_numpy(array)
    bits = np.ascontiguousarray(array).view(np.uint16).reshape(array.shape)
    return runtime.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, _ONNX_BFLOAT16)


def _bfloat16_array(value: Any) -> Array:
    if value.device_name() != "cpu":
        raise RuntimeError(f"a BF16 output lies on {value.device_name()}, from where it cannot be copied")
    bits = np.empty(value.shape(), np.uint16)
    if bits.size:
        ctypes.memmove(bits.ctypes.data, value.data_ptr(), bits.nbytes)
    return bits.view(Datatype.BF16.numpy)
