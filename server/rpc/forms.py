"""ModelInfer messages that were seen before but for their raw tensors: read and written without protobuf.

A client sends the same names, shapes and parameters all the time; fields are written in the order of their numbers, and
the raw tensors come last (`raw_input_contents` is field 7 of a request, `raw_output_contents` field 6 of a response):

    head: model, id, parameters, inputs, outputs | tag, length, bytes of the first raw tensor | of the second ...

Reading a message is reading its fields one after the other, so equal heads mean equal requests. Parsing and picking
apart a small message takes three times as long as everything else that is done with it here. Invariants: 1. `recall`
gives what `codec.decode` would, or None; BadRequest where that would name a wrong tensor. 2. A form counts from the
second time on. 3. `written` gives the bytes that protobuf would.

Wire format: Protocol Buffers encoding, "Length-Delimited Records".
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace
from tritonclient.grpc import service_pb2

from headrace.datatypes import BY_NUMPY, Datatype
from headrace.requests import InferRequest, InferResponse
from server.memory import Memory, Twice
from server.rpc.calls import parsed
from server.rpc.codec import Message, decode, encode_head
from server.wire import from_raw, to_raw

_TO_CHECK = (Datatype.BYTES, Datatype.BOOL)
"""Datatypes of which not any bytes will do."""
_RAW_INPUT = b"\x3a"
_RAW_OUTPUT = b"\x32"


class _Tensor(msgspec.Struct):
    name: str
    datatype: Datatype
    dtype: np.dtype[Any]
    dims: tuple[int, ...]
    opening: bytes
    """Tag and length."""
    size: int
    checked: bool
    """Any bytes of this size are such a tensor."""


class _Form(msgspec.Struct):
    head: bytes
    tensors: list[_Tensor]
    like: InferRequest


_forms: Memory[tuple[int, bytes], _Form] = Memory()
_once = Twice()
_heads: Memory[tuple[Any, ...], bytes] = Memory()
"""Model, version, and of each output name, dtype and shape -> the message up to its raw tensors."""


def read(data: bytes) -> InferRequest:
    """The request in `data`, which should be a `ModelInferRequest`. Raises BadRequest like `codec.decode`."""
    request = recall(data)
    if request is None:
        message = parsed(service_pb2.ModelInferRequest, data)
        request = decode(message)
        learn(data, message, request)
    return request


def recall(data: bytes) -> InferRequest | None:
    """The request in `data` if its form is known."""
    form = _forms.get(_key(data))
    if form is None or not data.startswith(form.head):
        return None
    at = len(form.head)
    inputs = {}
    for tensor in form.tensors:
        if not data.startswith(tensor.opening, at):
            return None
        at += len(tensor.opening)
        if tensor.checked:
            array = np.ndarray(tensor.dims, tensor.dtype, data, at)
            inputs[tensor.name] = array if array.flags.aligned else array.copy()
        else:
            raw = memoryview(data)[at : at + tensor.size]
            inputs[tensor.name] = from_raw(tensor.name, tensor.datatype, tensor.dims, raw)
        at += tensor.size
    return replace(form.like, inputs=inputs)


def known(data: bytes) -> InferRequest | None:
    """The request in `data` without its inputs, which are not looked at, if its form is known."""
    form = _forms.get(_key(data))
    return form.like if form is not None and data.startswith(form.head) else None


def learn(data: bytes, message: Message, request: InferRequest) -> None:
    """Remember the form of `data`, which has just been decoded as `message` and `request`, if it is one."""
    raws = message.raw_input_contents
    openings = [_RAW_INPUT + varint(len(raw)) for raw in raws]
    tail = sum(map(len, openings)) + sum(map(len, raws))
    head = data[: len(data) - tail]
    key = _key(data)
    if not raws or not head.startswith(key[1]) or not _once.seen(head) or not _is_head(head, message):
        return
    tensors = [
        _Tensor(name, kind := BY_NUMPY[array.dtype], array.dtype, array.shape, opening, len(raw), kind not in _TO_CHECK)
        for (name, array), opening, raw in zip(request.inputs.items(), openings, raws, strict=True)
    ]
    _forms.keep(key, _Form(head, tensors, replace(request, inputs={})))


def _key(data: bytes) -> tuple[int, bytes]:
    """Which form may fit: one of this length that begins with this model's name (after its tag and length)."""
    return len(data), data[: 2 + data[1]] if len(data) > 1 else b""


def _is_head(head: bytes, message: Message) -> bool:
    """Whether `head` is the message less its raw tensors: then they follow it, in order, and nothing else does."""
    bare = type(message)()
    bare.CopyFrom(message)
    del bare.raw_input_contents[:]
    return bool(bare.SerializeToString() == head)


def written(response: InferResponse) -> bytes:
    """The `ModelInferResponse` of `response`, as bytes."""
    key: list[Any] = [response.model.name, response.model.version]
    pieces = [b""]
    for name, array in response.outputs.items():
        raw = to_raw(array)
        key += (name, array.dtype.char, array.shape)
        pieces += (_RAW_OUTPUT, varint(len(raw)), raw)
    pieces[0] = _head(response, tuple(key))
    return b"".join(pieces)


def _head(response: InferResponse, key: tuple[Any, ...]) -> bytes:
    """The message up to its raw tensors, which have been made: what comes again is remembered by `key`."""
    if response.id or response.parameters:
        return bytes(encode_head(response).SerializeToString())
    head = _heads.get(key)
    if head is None:
        head = encode_head(response).SerializeToString()
        _heads.keep(key, head)
    return head


def varint(number: int) -> bytes:
    """`number`, 7 bits a byte, the lowest first."""
    if number < 1 << 7:
        return bytes((number,))
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
