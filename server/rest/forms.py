"""Bodies that were seen before but for their tensors' data: decoded without parsing the rest again.

A client sends the same names, shapes and parameters all the time. A body less its data is its *form*:

    JSON     {"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":  [0.1,0.2,0.3,0.4]  }]}
    binary   {"inputs":[...]}  the whole JSON part, and how long what follows it is

JSON is read from left to right, so equal bytes before the data leave every parser in the same state, and equal bytes
after it are read the same. Invariants: 1. `recall` gives what `codec.decode` would, or None. 2. None is the answer to
whatever is wrong with the data: `decode` then says what. 3. A form counts from the second time on, so ids that are
never repeated cost little; the memory is bounded.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from headrace.datatypes import BY_NUMPY, Datatype
from headrace.errors import BadRequest
from headrace.requests import Array, InferRequest
from server.memory import Memory, Twice
from server.rest.json_data import DEPTH, flat_parser
from server.rest.message import Message, parse
from server.wire import from_raw


class _Flat(msgspec.Struct):
    """One input, its data a flat list of numbers (in as many brackets as its shape has leading ones)."""

    name: str
    dtype: np.dtype[Any]
    dims: tuple[int, ...]
    numbers: Callable[[bytes], list[Any]]
    pack: Callable[..., bytes]
    after: bytes
    like: InferRequest


class _Binary(msgspec.Struct):
    """Inputs that are all binary: name, datatype, dims and where it ends, in the order of their bytes."""

    inputs: list[tuple[str, Datatype, tuple[int, ...], int]]
    length: int
    like: InferRequest


_flat: Memory[bytes, _Flat] = Memory()
"""By the bytes before the data. One that is followed by other bytes than the last was learnt with takes its place."""
_binary: Memory[bytes, _Binary] = Memory()
_once = Twice()


def recall(model: str, version: str, body: bytes, header_length: int | None) -> InferRequest | None:
    """The request in `body` if its form is known and its data is right."""
    if header_length is not None:
        return _recall_binary(model, version, body, header_length)
    start = _numbers_at(body)
    form = _flat.get(body[:start])
    if form is None or not body.endswith(form.after):
        return None
    try:
        packed = form.pack(*form.numbers(body[start : len(body) - len(form.after)]))
    except (msgspec.DecodeError, struct.error, OverflowError):
        return None
    array = np.ndarray(form.dims, form.dtype, packed)
    return _filled(form.like, model, version, {form.name: array})


def _recall_binary(model: str, version: str, body: bytes, header_length: int) -> InferRequest | None:
    form = _binary.get(body[:header_length])
    if form is None or form.length != len(body):
        return None
    view = memoryview(body)
    at = header_length
    inputs = {}
    for name, datatype, dims, end in form.inputs:
        inputs[name] = from_raw(name, datatype, dims, view[at:end])
        at = end
    return _filled(form.like, model, version, inputs)


def _filled(like: InferRequest, model: str, version: str, inputs: dict[str, Array]) -> InferRequest:
    return InferRequest(
        model,
        version,
        inputs,
        like.id,
        like.parameters,
        like.outputs,
        like.binary_output,
        like.timeout_us,
        explain=like.explain,
        priority=like.priority,
    )


def learn(body: bytes, header_length: int | None, message: Message[Any], request: InferRequest) -> None:
    """Remember the form of `body`, which has just been decoded as `message` and `request`, if it is one."""
    if header_length is not None:
        head = body[:header_length]
        if all(item.data is msgspec.UNSET for item in message.inputs) and _once.seen(head):
            _binary.keep(head, _binary_form(len(body), header_length, message, request))
    elif len(message.inputs) == 1:
        start = _numbers_at(body)
        before, after = body[:start], body[body.find(b"]", start) + 1 :]
        form = _flat_form(request, after)
        if form and _once.seen(b"%b\0%b" % (before, after)) and _is_the_data(before, after):
            _flat.keep(before, form)


def _is_the_data(before: bytes, after: bytes) -> bool:
    """Whether what stands between them is all the data of the input, and not something else of that name."""
    try:
        data: Any = parse(b"%b[]%b" % (before, after)).inputs[0].data
        values = data if isinstance(data, list) else msgspec.json.decode(data)
    except (BadRequest, msgspec.DecodeError, TypeError):  # several rows, each in brackets
        return False
    while isinstance(values, list) and len(values) == 1:
        (values,) = values
    return bool(values == [])


def _numbers_at(body: bytes) -> int:
    """Where the first innermost list after the first "data" begins; anywhere if there is none."""
    start = body.find(b"[", body.find(b'"data"'))
    for inner in range(start + 1, start + 1 + DEPTH):
        if body[inner : inner + 1] != b"[":
            return inner - 1
    return start


def _flat_form(request: InferRequest, after: bytes) -> _Flat | None:
    ((name, array),) = request.inputs.items()
    parser = flat_parser(BY_NUMPY[array.dtype])
    if parser is None:
        return None
    numbers, code = parser
    pack = struct.Struct(f"<{array.size}{code}").pack
    return _Flat(name, array.dtype, array.shape, numbers, pack, after, _empty(request))


def _binary_form(length: int, at: int, message: Message[Any], request: InferRequest) -> _Binary:
    inputs = []
    for item in message.inputs:
        array = request.inputs[item.name]
        at += item.parameters["binary_data_size"]
        inputs.append((item.name, BY_NUMPY[array.dtype], array.shape, at))
    return _Binary(inputs, length, _empty(request))


def _empty(request: InferRequest) -> InferRequest:
    return _filled(request, "", "", {})
