"""Synthetic inputs for a model, from its signature alone: for warming up and for asking whether rows are independent.

Pure: the same arguments give the same arrays. Values are harmless (integers and texts 0 or 1, floats in [0, 1)), since
they end up as indices, masks and divisors. Row 0 and row 1 differ in every tensor, also where a row is one element:
rows that are all alike would hide that they influence each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from executor.metadata import Axis, Signature
from headrace.datatypes import Datatype
from headrace.models import TensorSpec
from headrace.requests import Array


def samples(
    signature: Signature, rows: int, free: int, named: Mapping[str, int] = MappingProxyType({})
) -> dict[str, Array]:
    """One array per required input. A free axis 0 gets `rows`, any other free axis `free`, one in `named` its own size.

    An axis that bears the same symbolic name as a free axis 0 gets `rows` too. Inputs with defaults are left out.
    """
    rng = np.random.default_rng(0)
    required = [spec for spec in signature.inputs if not spec.optional]
    first = {signature.axes[spec.name][0] for spec in required if spec.shape and spec.shape[0] == -1}
    sizes: dict[Axis, int] = {name: rows for name in first if isinstance(name, str)}
    sizes.update(named)
    return {
        spec.name: _values(spec, _shape(spec, signature.axes[spec.name], sizes, rows, free), rng) for spec in required
    }


def _shape(
    spec: TensorSpec, axes: tuple[Axis, ...], sizes: Mapping[Axis, int], rows: int, free: int
) -> tuple[int, ...]:
    lengths = [length if length >= 0 else sizes.get(axis, free) for length, axis in zip(spec.shape, axes, strict=True)]
    if spec.shape and spec.shape[0] == -1:
        lengths[0] = sizes.get(axes[0], rows)
    return tuple(lengths)


def _values(spec: TensorSpec, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    if spec.datatype.is_float:
        return np.asarray(rng.random(shape, dtype=np.float32)).astype(spec.datatype.numpy)
    bits = np.asarray(rng.integers(0, 2, shape))
    if bits.ndim and bits.shape[0] > 1 and bits.size:
        by_row = bits.reshape(bits.shape[0], -1)
        by_row[0, 0], by_row[1, 0] = 1, 0
    if spec.datatype is Datatype.BYTES:
        return np.where(bits == 1, "1", "0").astype(object)
    return bits.astype(spec.datatype.numpy)
