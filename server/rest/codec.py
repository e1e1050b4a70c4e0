"""The body of a V2 infer request <-> `InferRequest`, and `InferResponse` <-> the body of its answer.

Both ways into the server (short cut and ASGI) call `decode` and `encode`, so their answers are the same. Tensor data
is parsed strictly, by each input's datatype.

Wire format: Open Inference Protocol, REST; "binary tensor data" extension (Triton): the body is JSON and then the
tensors in the order of the JSON, `Inference-Header-Content-Length` tells where the JSON ends, each binary tensor has
`parameters.binary_data_size`; a header length of 0 means that the whole body is the one input.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec
import numpy as np
import orjson

from headrace.datatypes import BY_NUMPY, Datatype
from headrace.errors import BadRequest
from headrace.models import ModelId, ModelMetadata
from headrace.requests import Array, InferRequest, InferResponse
from server import explain
from server.memory import Memory
from server.rest import forms
from server.rest.json_data import from_json, to_json
from server.rest.message import Input, Message, flag, parse, whole, wishes
from server.wire import datatype_named, from_raw, to_raw


def decode(model: str, version: str, body: bytes, header_length: int | None = None) -> InferRequest:
    """The request in `body`; `header_length` is the length of its JSON part if binary tensors follow.

    Arrays of binary tensors are views on `body`. Raises BadRequest naming the tensor, what was expected and found.
    """
    known = forms.recall(model, version, body, header_length)
    if known is not None:
        return known
    if header_length is not None and header_length > len(body):
        raise BadRequest(
            f"Inference-Header-Content-Length is {header_length}, but the whole body has {len(body)} bytes"
        )
    message = parse(body if header_length is None else memoryview(body)[:header_length])
    parameters = message.parameters
    request = InferRequest(
        model,
        version,
        _inputs(message, memoryview(b"" if header_length is None else body)[header_length:]),
        message.id,
        parameters,
        wishes(message),
        binary_output=flag("binary_data_output", parameters.get("binary_data_output", False)),
        timeout_us=whole("timeout", parameters.get("timeout", 0)),
        explain=flag("explain", parameters.get("explain", False)),
        priority=whole("priority", parameters.get("priority", 0)),
    )
    forms.learn(body, header_length, message, request)
    return request


def _inputs(message: Message[Any], tail: memoryview) -> dict[str, Array]:
    """The tensors of a message; `tail` holds the binary ones."""
    inputs: dict[str, Array] = {}
    at = 0
    for item in message.inputs:
        name = item.name
        if name in inputs:
            raise BadRequest(f"input {name!r} is given twice")
        datatype = datatype_named(name, item.datatype)
        size = item.parameters.get("binary_data_size")
        if size is None:
            if item.data is msgspec.UNSET:
                raise BadRequest(f"input {name!r} has neither data nor parameters.binary_data_size")
            inputs[name] = from_json(name, datatype, item.shape, item.data)
        else:
            inputs[name] = from_raw(name, datatype, item.shape, _binary(item, size, tail, at))
            at += size
    if at != len(tail):
        raise BadRequest(f"{len(tail)} bytes follow the JSON part, the inputs' binary_data_size add up to {at}")
    return inputs


def decode_raw(model: str, version: str, body: bytes, metadata: ModelMetadata) -> InferRequest:
    """The request whose whole body is the model's one input ("raw binary request"), answered in binary.

    The input may have one free dimension besides the batch axis, which is 1; BYTES takes the body as one element.
    """
    if len(metadata.inputs) != 1:
        raise BadRequest(
            f"a raw binary request needs a model with one input, {metadata.id.name!r} has {len(metadata.inputs)}"
        )
    spec = metadata.inputs[0]
    dims = [1, *spec.shape[1:]] if metadata.batchable else list(spec.shape)
    if spec.datatype is Datatype.BYTES:
        if any(dim not in (1, -1) for dim in dims):
            raise BadRequest(f"a raw binary request is one string, input {spec.name!r} has shape {list(spec.shape)}")
        body = len(body).to_bytes(4, "little") + body
        dims = [1] * len(dims)
    elif dims.count(-1) > 1:
        raise BadRequest(f"input {spec.name!r} has more than one free dimension: a raw binary request cannot tell them")
    elif -1 in dims:
        known = spec.datatype.item_bytes * int(np.prod([dim for dim in dims if dim != -1]))
        dims[dims.index(-1)] = len(body) // known if known else 0
    inputs = {spec.name: from_raw(spec.name, spec.datatype, dims, body)}
    return InferRequest(model, version, inputs, binary_output=True)


def encode(response: InferResponse, request: InferRequest) -> tuple[bytes, int | None]:
    """The answer's body, and the length of its JSON part if binary tensors follow.

    Raises BadRequest if an output was asked for in a form that it does not have.
    """
    binary: list[bytes] = []
    outputs: list[bytes] = []
    wishes = request.outputs and {wish.name: wish.binary for wish in request.outputs}
    for name, array in response.outputs.items():
        opening = _outputs.get((name, array.dtype.char, array.shape)) or _opening_of_output(name, array)
        wish = wishes.get(name) if wishes else None
        if request.binary_output if wish is None else wish:
            data = to_raw(array)
            binary.append(data)
            outputs.append(b'%b,"parameters":{"binary_data_size":%d}}' % (opening, len(data)))
        else:
            outputs.append(b'%b,"data":%b}' % (opening, to_json(name, array)))
    opening = _answers.get(response.model) or _opening_of_answer(response.model)
    if response.id:
        opening += b',"id":' + orjson.dumps(response.id)
    if response.since:
        response.parameters = explain.encoded(response.parameters, response.since, time.monotonic())
    if response.parameters:
        opening += b',"parameters":' + orjson.dumps(response.parameters)
    head = b'%b,"outputs":[%b]}' % (opening, b",".join(outputs))
    return (head, None) if not binary else (b"".join((head, *binary)), len(head))


_answers: Memory[ModelId, bytes] = Memory()
_outputs: Memory[tuple[str, str, tuple[int, ...]], bytes] = Memory()


def _opening_of_answer(model: ModelId) -> bytes:
    """The object up to what differs from answer to answer."""
    opening = orjson.dumps({"model_name": model.name, "model_version": str(model.version)})[:-1]
    _answers.keep(model, opening)
    return opening


def _opening_of_output(name: str, array: Array) -> bytes:
    """The object of one output up to its data."""
    opening = orjson.dumps({"name": name, "datatype": BY_NUMPY[array.dtype].wire, "shape": array.shape})[:-1]
    _outputs.keep((name, array.dtype.char, array.shape), opening)
    return opening


def _binary(item: Input[Any], size: Any, tail: memoryview, at: int) -> memoryview:
    if item.data is not msgspec.UNSET:
        raise BadRequest(f"input {item.name!r} has both data and parameters.binary_data_size")
    whole(f"binary_data_size of input {item.name!r}", size)
    if size > len(tail) - at:
        raise BadRequest(
            f"input {item.name!r} has binary_data_size {size}, but {len(tail) - at} bytes of binary data are left"
        )
    return tail[at : at + size]
