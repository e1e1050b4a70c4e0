"""Which execution providers a session gets, by name. Pure: what is installed is passed in.

Receives the model's `execution_providers` and the runtime's list, hands ONNX Runtime's (full name, options) pairs to
`sessions`. Invariants: 1. A provider asked for by name is used or the load fails. 2. Nothing asked: the first of
`BY_DEFAULT` that is there. 3. CPUExecutionProvider comes last whenever another one is first: every accelerator leaves
some nodes (shape arithmetic, operators it lacks) to it, and ONNX Runtime would add it itself, unseen.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from headrace.config import Provider
from headrace.errors import LoadFailed

Options: TypeAlias = dict[str, str]
Chosen: TypeAlias = list[tuple[str, Options]]


@dataclass(frozen=True, slots=True)
class _Known:
    full: str
    brought_by: str


_GPU = "onnxruntime-gpu (pip install headrace[gpu])"
_KNOWN: dict[str, _Known] = {
    "cpu": _Known("CPUExecutionProvider", "onnxruntime (pip install headrace[cpu])"),
    "cuda": _Known("CUDAExecutionProvider", _GPU),
    "tensorrt": _Known("TensorrtExecutionProvider", f"{_GPU} with NVIDIA's TensorRT libraries"),
    "rocm": _Known("ROCMExecutionProvider", "onnxruntime-rocm"),
    "migraphx": _Known("MIGraphXExecutionProvider", "onnxruntime-migraphx"),
    "openvino": _Known("OpenVINOExecutionProvider", "onnxruntime-openvino"),
    "directml": _Known("DmlExecutionProvider", "onnxruntime-directml (Windows)"),
    "coreml": _Known("CoreMLExecutionProvider", "onnxruntime (macOS)"),
    "qnn": _Known("QNNExecutionProvider", "onnxruntime-qnn"),
    "cann": _Known("CANNExecutionProvider", "onnxruntime-cann"),
    "dnnl": _Known("DnnlExecutionProvider", "a build of ONNX Runtime with --use_dnnl"),
    "vitisai": _Known("VitisAIExecutionProvider", "AMD's build of ONNX Runtime (Vitis AI)"),
    "xnnpack": _Known("XnnpackExecutionProvider", "a build of ONNX Runtime with --use_xnnpack"),
    "webgpu": _Known("WebGpuExecutionProvider", "a build of ONNX Runtime with --use_webgpu"),
}
_ALIASES = {"dml": "directml", "gpu": "cuda", "trt": "tensorrt", "onednn": "dnnl"}
_BY_FULL = {known.full: known for known in _KNOWN.values()}

CPU = _KNOWN["cpu"].full
CUDA = _KNOWN["cuda"].full
TENSORRT = _KNOWN["tensorrt"].full
ON_THE_CPU = "cpu"
"""The device of all providers that compute there."""
_ON_CPU = tuple(_KNOWN[short].full for short in ("cpu", "openvino", "dnnl", "xnnpack"))

_SAME_HARDWARE = {"tensorrt": "cuda", "migraphx": "rocm"}
_NUMBER = "device_id"
"""The option by which a provider is told which of several devices."""

_DEFAULT_OPTIONS: dict[str, Options] = {CUDA: {"cudnn_conv_algo_search": "HEURISTIC"}}
"""Where the runtime's own default is bad for a server. Its search for the best convolution, which it makes for every
shape that it meets, took 166 to 540 ms on an H100, asking for a good guess 37, and the guess was as fast."""

BY_DEFAULT: tuple[str, ...] = tuple(
    _KNOWN[short].full for short in ("cuda", "rocm", "migraphx", "directml", "openvino", "cpu")
)
"""What is taken when nothing is asked for, best first. TensorRT (it compiles for minutes, per shape) and CoreML (free
dimensions) only by name; AzureExecutionProvider, which sends inputs to a remote service, never by default."""


def choose(asked: Sequence[Provider | str], available: Sequence[str]) -> Chosen:
    """Providers for a session, in order of preference. Raises LoadFailed for one that is named and not available."""
    if not asked:
        return _with_cpu([_with_defaults(next((name for name in BY_DEFAULT if name in available), CPU), {})])
    chosen: Chosen = []
    for entry in asked:
        provider = entry if isinstance(entry, Provider) else Provider(name=entry)
        full = full_name(provider.name, available)
        if any(full == name for name, _ in chosen):
            raise LoadFailed(f"execution provider {provider.name!r} is asked for twice ({full})")
        chosen.append(_with_defaults(full, {key: str(value) for key, value in provider.options.items()}))
        if full == TENSORRT and not is_asked(asked, CUDA) and CUDA in available:
            chosen.append(_with_defaults(CUDA, {}))  # what TensorRT cannot compile should stay on the GPU
    return _with_cpu(chosen)


def full_name(name: str, available: Sequence[str]) -> str:
    """ONNX Runtime's name for `name` (short or full, any case). Raises LoadFailed if it is not available."""
    full = _resolve(name, available)
    if full in available:
        return full
    have = ", ".join(available) or "none"
    known = _BY_FULL.get(full)
    if known:
        raise LoadFailed(
            f"execution provider {name!r} ({full}) is not in the installed ONNX Runtime; available: {have}. "
            f"It comes with {known.brought_by}."
        )
    raise LoadFailed(f"unknown execution provider {name!r}; available: {have}; {_hint(name)}")


def kind_of(name: str) -> str:
    """`cpu` for all providers that compute there, else the short name, available or not. Raises LoadFailed."""
    full = _resolve(name, ())
    if full in _ON_CPU:
        return ON_THE_CPU
    short = next((short for short, known in _KNOWN.items() if known.full == full), None)
    if short is None:
        raise LoadFailed(f"unknown execution provider {name!r}; {_hint(name)}")
    return short


def left_out(chosen: Chosen, active: Sequence[str]) -> list[str]:
    """Providers that were chosen and that a session, whose providers are `active`, does without.

    ONNX Runtime drops a provider whose libraries do not load and goes on with the CPU, without an exception.
    """
    return [name for name, _ in chosen if name not in active]


def device(asked: Sequence[Provider | str], full: str) -> str:
    """Where the provider with this full name computes, by a name that is the same for all providers there."""
    if full in _ON_CPU:
        return ON_THE_CPU
    known = [each for each in asked if isinstance(each, Provider) and _resolve(each.name, (full,)) == full]
    return f"{_family(full)}:{known[0].options.get(_NUMBER, 0) if known else 0}"


def placed(asked: Sequence[Provider | str], device: str | None) -> tuple[Provider | str, ...]:
    """The same providers, on this device (`cpu`, `cuda:1`); None: as they are. Nothing asked: the device's own.

    Raises LoadFailed if none of them computes there, or one is told another number.
    """
    if device is None:
        return tuple(asked)
    kind, _, digits = device.partition(":")
    family, number = kind_of(kind), int(digits or 0)
    if family == ON_THE_CPU and digits:
        raise LoadFailed(f"device {device}: expected cpu, or a device with a number that is its own, such as cuda:1")
    found = [each if isinstance(each, Provider) else Provider(name=each) for each in asked or (kind,)]
    there = [_family(_resolve(each.name, ())) == _family(_resolve(kind, ())) for each in found]
    if not any(there):
        names = ", ".join(each.name for each in found)
        raise LoadFailed(f"device {device}: expected an execution provider that computes there, found {names}")
    return tuple(
        _numbered(each, number, device) if on and digits else each for each, on in zip(found, there, strict=True)
    )


def _numbered(provider: Provider, number: int, device: str) -> Provider:
    told = provider.options.get(_NUMBER, number)
    if str(told) != str(number):
        raise LoadFailed(f"device {device}: execution provider {provider.name} is told {_NUMBER} {told}")
    return Provider(name=provider.name, options={**provider.options, _NUMBER: number})


def _family(full: str) -> str:
    """What all providers of one kind of hardware have in common; `cpu` for those that compute there."""
    short = (
        ON_THE_CPU if full in _ON_CPU else next((short for short, known in _KNOWN.items() if known.full == full), full)
    )
    return _SAME_HARDWARE.get(short, short)


def is_asked(asked: Sequence[Provider | str], full: str) -> bool:
    """Whether the provider with this full name is among those asked for, by whichever name."""
    return any(_resolve(entry.name if isinstance(entry, Provider) else entry, (full,)) == full for entry in asked)


def _hint(name: str) -> str:
    near = difflib.get_close_matches(name.strip().lower(), [*_KNOWN, *_ALIASES], n=1)
    return f"did you mean {near[0]!r}?" if near else f"known short names: {', '.join(_KNOWN)}."


def _resolve(name: str, available: Sequence[str]) -> str:
    """The full name that is meant, whether available or not; `name` itself if nobody knows it."""
    wanted = name.strip().lower()
    known = _KNOWN.get(_ALIASES.get(wanted, wanted))
    return known.full if known else next((full for full in (*_BY_FULL, *available) if full.lower() == wanted), name)


def _with_defaults(full: str, options: Options) -> tuple[str, Options]:
    return full, {**_DEFAULT_OPTIONS.get(full, {}), **options}


def _with_cpu(chosen: Chosen) -> Chosen:
    return chosen if any(name == CPU for name, _ in chosen) else [*chosen, (CPU, {})]
