"""Any exception -> the gRPC status that the client gets: code number and sentence.

Receives what a method raised from `call`, `tasks` and `stream`. A ServingError's sentence is the message, and so is
what gRPC itself refuses (`RpcError`); anything else is a bug of ours: it is logged with its traceback and the client
hears its type only.
"""

from __future__ import annotations

import enum
import logging

from headrace.errors import ServingError
from server.faults import fault

logger = logging.getLogger("headrace.rpc")

_MAX_BYTES = 2000
"""The message travels percent-encoded (up to three bytes for one) in a header block of which clients take 8 KiB."""


class Code(enum.IntEnum):
    """The gRPC status codes that are given without a ServingError."""

    OK = 0
    DEADLINE_EXCEEDED = 4
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


class RpcError(Exception):
    """A call that cannot be answered, for reasons of gRPC: no method, no message, no time."""

    def __init__(self, code: Code, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


def status(error: Exception) -> tuple[int, str]:
    """Status code number and message for `error`."""
    if isinstance(error, ServingError):
        return fault(error).grpc, _cut(str(error))
    if isinstance(error, RpcError):
        return error.code, _cut(str(error))
    logger.error("a call failed in an unforeseen way", exc_info=error)
    return fault(error).grpc, f"internal error: {type(error).__name__}"


def _cut(sentence: str) -> str:
    data = sentence.encode(errors="replace")
    return sentence if len(data) <= _MAX_BYTES else data[:_MAX_BYTES].decode(errors="ignore") + "..."
