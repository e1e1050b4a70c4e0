"""V2 parameters as gRPC carries them: a map from name to `InferParameter`, a oneof of five kinds of value.

Receives the maps of requests, inputs and outputs from `codec`, hands it plain Python values; the other way round for
responses. Values are checked where they mean something (`whole`), the rest is passed on as it came.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace.errors import BadRequest, NotSupported
from headrace.requests import NO_PARAMETERS, Parameters

_SHARED_MEMORY = "shared_memory_region"


def decode_parameters(message: Mapping[str, Any]) -> Parameters:
    """Name -> value. A parameter of which no kind is set is an error: no value can be meant by it."""
    if not message:
        return NO_PARAMETERS
    values = {}
    for name, parameter in message.items():
        kind = parameter.WhichOneof("parameter_choice")
        if kind is None:
            raise BadRequest(f"parameter {name!r} has no value")
        values[name] = getattr(parameter, kind)
    return values


def encode_parameters(parameters: Parameters, message: Any) -> None:
    """Put `parameters` into the map field `message`."""
    for name, value in parameters.items():
        target = message[name]
        match value:
            case bool():
                target.bool_param = value
            case int() if value >= 2**63:
                target.uint64_param = value
            case int():
                target.int64_param = value
            case float():
                target.double_param = value
            case _:
                target.string_param = str(value)


def whole(what: str, parameters: Parameters, name: str) -> int:
    """The whole number `name` of `parameters`, 0 if it is not there. `what` tells whose parameter it is."""
    value = parameters.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise BadRequest(f"parameter {name!r} of {what} is a whole number of 0 or more, found {value!r}")
    return value


def flag(what: str, parameters: Parameters, name: str) -> bool:
    """The truth value `name` of `parameters`, false if it is not there. `what` tells whose parameter it is."""
    value = parameters.get(name, False)
    if not isinstance(value, bool):
        raise BadRequest(f"parameter {name!r} of {what} is true or false, found {value!r}")
    return value


def no_shared_memory(what: str, parameters: Mapping[str, Any]) -> None:
    """Refuse a tensor that lies in shared memory rather than in the message."""
    if _SHARED_MEMORY in parameters:
        raise NotSupported(f"{what} is in shared memory, which this server does not support: send it in the message")
