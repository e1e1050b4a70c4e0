"""Hold what is declared beside a model (config.pbtxt) against what the model says. Pure.

Receives TensorSpecs of both, raises LoadFailed at the first contradiction with expected and found. A declared dimension
of -1 agrees with anything, as does a free one of the model; declaring only some of the outputs is fine.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from headrace.errors import LoadFailed
from headrace.models import ModelId, TensorSpec


def check_declared(
    model: ModelId,
    role: str,
    declared: Sequence[TensorSpec],
    found: Sequence[TensorSpec],
    unranked: Collection[str] = (),
) -> None:
    """Raise LoadFailed unless every declared `role` ("input", "output") is in the model as declared.

    Required inputs of the model must all be declared, if any is. `unranked` tensors have no dimensions to compare.
    """
    by_name = {spec.name: spec for spec in found}
    for spec in declared:
        actual = by_name.get(spec.name)
        if actual is None:
            names = ", ".join(repr(name) for name in by_name)
            raise LoadFailed(f"model {model}: {role} {spec.name!r} is declared, the model's {role}s are {names}")
        if actual.datatype is not spec.datatype:
            raise LoadFailed(
                f"model {model}: {role} {spec.name!r} is declared as {spec.datatype.value}, "
                f"the model has {actual.datatype.value}"
            )
        if spec.name not in unranked and not _agree(spec.shape, actual.shape):
            raise LoadFailed(
                f"model {model}: {role} {spec.name!r} is declared with shape {list(spec.shape)}, "
                f"the model has {list(actual.shape)}"
            )
    if declared and role == "input":
        names_declared = {spec.name for spec in declared}
        for spec in found:
            if not spec.optional and spec.name not in names_declared:
                raise LoadFailed(f"model {model}: input {spec.name!r} of the model is not among the declared ones")


def _agree(declared: tuple[int, ...], found: tuple[int, ...]) -> bool:
    return len(declared) == len(found) and all(
        -1 in pair or pair[0] == pair[1] for pair in zip(declared, found, strict=True)
    )
