"""The body of a V2 infer request <-> `InferRequest`, and `InferResponse` <-> the body of its answer.

Both ways into the server (short cut and ASGI) call `decode` and `encode`, so their answers are the same. Tensor data
is parsed strictly, by each input's datatype.

Wire format: Open Inference Protocol, REST; "binary tensor data" extension (Triton): the body is JSON and then the
tensors in the order of the JSON, `Inference-Header-Content-Length` tells where the JSON ends, each binary tensor has
`parameters.binary_data_size`; a header length of 0 means that the whole body is the one input.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np
import orjson

from headrace.datatypes import BY_NAME, BY_NUMPY, Datatype
from headrace.errors import BadRequest
from headrace.models import ModelMetadata
from headrace.requests import Array, InferRequest, InferResponse, RequestedOutput
from server.rest.json_data import FLOAT_NAMES, Floats, from_json, to_json
from server.wire import datatype_named, from_raw, to_raw

Data = TypeVar("Data")


class _Input(msgspec.Struct, Generic[Data]):
    name: str
    datatype: str
    shape: list[int]
    data: Data | msgspec.UnsetType = msgspec.UNSET
    parameters: dict[str, Any] = {}


class _Output(msgspec.Struct):
    name: str
    parameters: dict[str, Any] = {}


class _Message(msgspec.Struct, Generic[Data]):
    inputs: list[_Input[Data]]
    id: str = ""
    parameters: dict[str, Any] = {}
    outputs: list[_Output] = []


_ANY = msgspec.json.Decoder(_Message[msgspec.Raw])
_FLOATS = msgspec.json.Decoder(_Message[Floats])


def decode(model: str, version: str, body: bytes, header_length: int | None = None) -> InferRequest:
    """The request in `body`; `header_length` is the length of its JSON part if binary tensors follow.

    Arrays of binary tensors are views on `body`. Raises BadRequest naming the tensor, what was expected and found.
    """
    head: bytes | memoryview = body
    tail = memoryview(b"")
    if header_length is not None:
        if header_length > len(body):
            raise BadRequest(
                f"Inference-Header-Content-Length is {header_length}, but the whole body has {len(body)} bytes"
            )
        head, tail = memoryview(body)[:header_length], memoryview(body)[header_length:]
    message = _parse(head)
    inputs: dict[str, Array] = {}
    at = 0
    for item in message.inputs:
        name = item.name
        if name in inputs:
            raise BadRequest(f"input {name!r} is given twice")
        datatype = BY_NAME.get(item.datatype) or datatype_named(name, item.datatype)
        size = item.parameters.get("binary_data_size") if item.parameters else None
        if size is None:
            if item.data is msgspec.UNSET:
                raise BadRequest(f"input {name!r} has neither data nor parameters.binary_data_size")
            inputs[name] = from_json(name, datatype, item.shape, item.data)
        else:
            inputs[name] = from_raw(name, datatype, item.shape, _binary(item, size, tail, at))
            at += size
    if at != len(tail):
        raise BadRequest(
            f"{len(tail)} bytes follow the JSON part, the inputs' binary_data_size add up to {at}"
            + ("" if header_length is not None else " (no Inference-Header-Content-Length)")
        )
    parameters = message.parameters
    if not parameters:
        return InferRequest(model, version, inputs, message.id, parameters, _wishes(message))
    return InferRequest(
        model,
        version,
        inputs,
        message.id,
        parameters,
        _wishes(message),
        binary_output=_flag("binary_data_output", parameters.get("binary_data_output", False)),
        timeout_us=_whole("timeout", parameters.get("timeout", 0)),
    )


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
    wishes = {} if request.outputs is None else {wish.name: wish.binary for wish in request.outputs}
    for name, array in response.outputs.items():
        wish = wishes.get(name)
        opening = _opening_of_output(name, array.dtype, array.shape)
        if request.binary_output if wish is None else wish:
            data = to_raw(array)
            binary.append(data)
            outputs.append(b'%b,"parameters":{"binary_data_size":%d}}' % (opening, len(data)))
        else:
            outputs.append(b'%b,"data":%b}' % (opening, to_json(name, array)))
    opening = _opening_of_answer(response.model.name, response.model.version)
    if response.id:
        opening += b',"id":' + orjson.dumps(response.id)
    if response.parameters:
        opening += b',"parameters":' + orjson.dumps(response.parameters)
    head = b'%b,"outputs":[%b]}' % (opening, b",".join(outputs))
    return (head, None) if not binary else (b"".join((head, *binary)), len(head))


@lru_cache(maxsize=4096)
def _opening_of_answer(model: str, version: int) -> bytes:
    """The object up to what differs from answer to answer."""
    return orjson.dumps({"model_name": model, "model_version": str(version)})[:-1]


@lru_cache(maxsize=4096)
def _opening_of_output(name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """The object of one output up to its data."""
    return orjson.dumps({"name": name, "datatype": BY_NUMPY[dtype].wire, "shape": shape})[:-1]


def _parse(head: bytes | memoryview) -> _Message[Any]:
    """The JSON part; tensor data as floats where all of it are, else unparsed for each input's own datatype."""
    try:
        if isinstance(head, bytes) and b'"FP' in head:  # only a guess which to try first; in one pass it is 1.3 us less
            try:
                message = _FLOATS.decode(head)
                for item in message.inputs:
                    if item.datatype not in FLOAT_NAMES:
                        break
                else:
                    return message
            except msgspec.ValidationError:
                pass
        return _ANY.decode(head)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BadRequest(f"the body is not a V2 inference request: {error}") from None


def _binary(item: _Input[Any], size: Any, tail: memoryview, at: int) -> memoryview:
    if item.data is not msgspec.UNSET:
        raise BadRequest(f"input {item.name!r} has both data and parameters.binary_data_size")
    _whole(f"binary_data_size of input {item.name!r}", size)
    if size > len(tail) - at:
        raise BadRequest(
            f"input {item.name!r} has binary_data_size {size}, but {len(tail) - at} bytes of binary data are left"
        )
    return tail[at : at + size]


def _wishes(message: _Message[Any]) -> list[RequestedOutput] | None:
    if not message.outputs:
        return None
    wishes = []
    for output in message.outputs:
        parameters = output.parameters
        binary = parameters.get("binary_data")
        wishes.append(
            RequestedOutput(
                output.name,
                None if binary is None else _flag(f"binary_data of output {output.name!r}", binary),
                _whole(f"classification of output {output.name!r}", parameters.get("classification", 0)),
            )
        )
    return wishes


def _flag(what: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise BadRequest(f"parameter {what} is true or false, found {value!r}")
    return value


def _whole(what: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise BadRequest(f"parameter {what} is a whole number of 0 or more, found {value!r}")
    return value
