"""Read a model's tensors from its session: ONNX Runtime's types and dimensions in, TensorSpecs out.

Receives a session from `load`, hands a `Signature` back. Invariants: 1. Every tensor of a signature has a V2 datatype;
a model with any other (sequence, map, sparse, optional) is refused, naming it. 2. A free dimension is -1 in the
spec; `axes` keeps its symbolic name. 3. Graph inputs with a default value come last and are optional.
ONNX Runtime shows a scalar and a tensor of unknown rank alike, as []; `unranked` names the latter.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from headrace.datatypes import BY_ONNX, Datatype
from headrace.errors import LoadFailed
from headrace.models import ModelId, TensorSpec

PLATFORM = "onnxruntime_onnx"

Axis: TypeAlias = int | str | None
"""A dimension as ONNX Runtime has it: fixed, named, or neither."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A model's tensors. `axes` has the dimensions of each by tensor name; `unranked` outputs have an empty shape."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    axes: Mapping[str, tuple[Axis, ...]]
    unranked: frozenset[str] = frozenset()


def read_signature(
    model: ModelId, model_file: Path, session: Any, labels: Mapping[str, tuple[str, ...]], ranks: Mapping[str, int]
) -> Signature:
    """The session's signature. `ranks` are those declared beside the model, for inputs whose rank it leaves open.

    Raises LoadFailed for types V2 cannot carry, labels of an output that is not there, and inputs of unknown rank.
    """
    required, optional, results = session.get_inputs(), session.get_overridable_initializers(), session.get_outputs()
    axes: dict[str, tuple[Axis, ...]] = {arg.name: tuple(arg.shape) for arg in (*required, *optional, *results)}
    unranked: frozenset[str] = frozenset()
    shapeless = {arg.name for arg in (*required, *results) if not axes[arg.name]}
    if shapeless:
        unranked = without_rank(model_file) & shapeless
    for arg in required:
        if arg.name in unranked:
            if arg.name not in ranks:
                raise LoadFailed(
                    f"model {model}: input {arg.name!r} has no shape in the model, not even a number of dimensions; "
                    "give it one when exporting, or declare its dims in config.pbtxt"
                )
            axes[arg.name] = (None,) * ranks[arg.name]
    for name in labels:
        if name not in [arg.name for arg in results]:
            known = ", ".join(repr(arg.name) for arg in results)
            raise LoadFailed(f"model {model}: labels are given for output {name!r}, its outputs are {known}")

    def spec(arg: Any, role: str, optional: bool = False) -> TensorSpec:
        return TensorSpec(
            name=arg.name,
            datatype=_datatype(model, role, arg),
            shape=tuple(axis if isinstance(axis, int) and axis >= 0 else -1 for axis in axes[arg.name]),
            optional=optional,
            labels=labels.get(arg.name, ()) if role == "output" else (),
        )

    return Signature(
        inputs=(*(spec(arg, "input") for arg in required), *(spec(arg, "input", optional=True) for arg in optional)),
        outputs=tuple(spec(arg, "output") for arg in results),
        axes=axes,
        unranked=unranked & {arg.name for arg in results},
    )


def without_rank(model_file: Path) -> frozenset[str]:
    """Inputs and outputs whose type in the file has no shape at all. External weights are not read."""
    import onnx  # noqa: PLC0415 - 8 MB in every replica, for what few models ask

    try:
        graph = onnx.load(str(model_file), load_external_data=False).graph
    except Exception:  # an .ort file: ONNX Runtime reads it, onnx does not; take [] for a scalar then
        return frozenset()
    tensors = [each for each in (*graph.input, *graph.output) if each.type.HasField("tensor_type")]
    return frozenset(each.name for each in tensors if not each.type.tensor_type.HasField("shape"))


def with_observed_ranks(
    outputs: Collection[TensorSpec], unranked: Collection[str], ranks: Mapping[str, int]
) -> tuple[TensorSpec, ...]:
    """Output specs once a run has shown the `ranks` of those in `unranked`; one that was not seen gets a free axis."""
    return tuple(
        TensorSpec(each.name, each.datatype, (-1,) * ranks.get(each.name, 1), labels=each.labels)
        if each.name in unranked
        else each
        for each in outputs
    )


def _datatype(model: ModelId, role: str, arg: Any) -> Datatype:
    datatype = BY_ONNX.get(arg.type)
    if datatype is None:
        hint = "; for scikit-learn models, convert with options={'zipmap': False}" if "map(" in arg.type else ""
        raise LoadFailed(
            f"model {model}: {role} {arg.name!r} is of type {arg.type}, which the V2 protocol cannot carry{hint}"
        )
    return datatype
