"""Arrays of every datatype for property tests, and what it means that two of them are the same."""

import math

import numpy as np
from hypothesis import strategies as st

from headrace.datatypes import Datatype

SHAPES = st.lists(st.integers(0, 3), max_size=4)
WITHOUT_JSON = (Datatype.FP16, Datatype.BF16)


def arrays_of(datatype, shapes=SHAPES, finite=False):
    """Arrays of any bits, NaN and infinities among them unless `finite`."""
    return shapes.flatmap(lambda shape: _filled(datatype, tuple(shape), finite))


def _filled(datatype, shape, finite):
    count = math.prod(shape)
    if datatype is Datatype.BYTES:
        # Whatever text there is: surrogates alone are none, neither in UTF-8 nor in JSON.
        texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
        return st.lists(texts, min_size=count, max_size=count).map(
            lambda each: np.array([*each, None], object)[:-1].reshape(shape)
        )
    if datatype is Datatype.BOOL:
        return st.binary(min_size=count, max_size=count).map(
            lambda bits: (np.frombuffer(bits, np.uint8) > 127).reshape(shape)
        )
    size = count * datatype.item_bytes
    bits = st.binary(min_size=size, max_size=size)

    def array(data):
        made = np.frombuffer(data, datatype.numpy).reshape(shape)
        if not (finite and datatype.is_float):
            return made
        with np.errstate(invalid="ignore"):  # signalling NaN do as their name says
            return np.where(np.isfinite(made), made, 1).astype(datatype.numpy)

    return bits.map(array)


def same(one, other):
    """Datatype, shape and every bit."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return one.tolist() == other.tolist() if one.dtype == object else one.tobytes() == other.tobytes()
