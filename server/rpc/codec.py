"""`ModelInferRequest` -> `InferRequest`, and `InferResponse` -> `ModelInferResponse`.

Wire format: Open Inference Protocol, gRPC, with the classification extension (Triton). Input tensors are either all
typed `contents` or all `raw_input_contents`, in the order of the inputs. Responses are always raw, as Triton and
OpenVINO answer. Arrays of raw tensors are views on the parsed message's bytes. Nothing here knows who carries the
messages.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, TypeAlias

from tritonclient.grpc import service_pb2

from headrace.datatypes import BY_NUMPY
from headrace.errors import BadRequest
from headrace.requests import Array, InferRequest, InferResponse, RequestedOutput
from server import explain
from server.rpc.contents import from_contents
from server.rpc.parameters import decode_parameters, encode_parameters, flag, no_shared_memory, whole
from server.wire import datatype_named, from_raw, to_raw

Message: TypeAlias = Any
"""A protobuf message; the generated classes come without types."""


def decode(message: Message) -> InferRequest:
    """The request in `message`. Raises BadRequest naming the tensor, what was expected and found."""
    inputs = _inputs(message)
    parameters = decode_parameters(message.parameters)
    return InferRequest(
        message.model_name,
        message.model_version,
        inputs,
        message.id,
        parameters,
        _wishes(message.outputs),
        timeout_us=whole("the request", parameters, "timeout") if parameters else 0,
        explain=flag("the request", parameters, "explain") if parameters else False,
        priority=whole("the request", parameters, "priority") if parameters else 0,
    )


def encode(response: InferResponse) -> Message:
    """The message that answers with `response`."""
    raws = [to_raw(array) for array in response.outputs.values()]
    message = encode_head(response)
    message.raw_output_contents.extend(raws)
    return message


def encode_head(response: InferResponse) -> Message:
    """The message that answers with `response`, less its raw tensors, which are made before it."""
    if response.since:
        response.parameters = explain.encoded(response.parameters, response.since, time.monotonic())
    message = service_pb2.ModelInferResponse(
        model_name=response.model.name, model_version=str(response.model.version), id=response.id
    )
    if response.parameters:
        encode_parameters(response.parameters, message.parameters)
    for name, array in response.outputs.items():
        message.outputs.add(name=name, datatype=BY_NUMPY[array.dtype].wire, shape=array.shape)
    return message


def _inputs(message: Message) -> dict[str, Array]:
    raws = message.raw_input_contents
    tensors = message.inputs
    if raws and len(raws) != len(tensors):
        raise BadRequest(
            f"the request has {len(tensors)} inputs and {len(raws)} raw_input_contents:"
            " either every input is raw, in order, or none"
        )
    arrays: dict[str, Array] = {}
    for index, tensor in enumerate(tensors):
        name = tensor.name
        if name in arrays:
            raise BadRequest(f"input {name!r} is given twice")
        if tensor.parameters:
            no_shared_memory(f"input {name!r}", tensor.parameters)
        datatype = datatype_named(name, tensor.datatype)
        if not raws:
            arrays[name] = from_contents(name, datatype, tensor.shape, tensor.contents)
            continue
        if tensor.HasField("contents") and tensor.contents.ListFields():
            raise BadRequest(f"input {name!r} has contents and the request raw_input_contents: only one can be meant")
        arrays[name] = from_raw(name, datatype, tensor.shape, raws[index])
    return arrays


def _wishes(outputs: Iterable[Message]) -> list[RequestedOutput] | None:
    wishes = []
    for output in outputs:
        count = 0
        if output.parameters:
            what = f"output {output.name!r}"
            no_shared_memory(what, output.parameters)
            count = whole(what, decode_parameters(output.parameters), "classification")
        wishes.append(RequestedOutput(output.name, classification=count))
    return wishes or None
