"""Any exception -> the gRPC status that the client gets: code number and sentence.

Receives what a method raised from `front` and `stream`. A ServingError's sentence is the message; anything else is a
bug of ours: it is logged with its traceback and the client hears its type only.
"""

from __future__ import annotations

import logging

from headrace.errors import ServingError
from server.faults import fault

logger = logging.getLogger("headrace.rpc")

_MAX_BYTES = 2000
"""The message travels percent-encoded (up to three bytes for one) in a header block of which clients take 8 KiB."""


def status(error: Exception) -> tuple[int, str]:
    """Status code number and message for `error`."""
    if isinstance(error, ServingError):
        return fault(error).grpc, _cut(str(error))
    logger.error("a call failed in an unforeseen way", exc_info=error)
    return fault(error).grpc, f"internal error: {type(error).__name__}"


def _cut(sentence: str) -> str:
    data = sentence.encode(errors="replace")
    return sentence if len(data) <= _MAX_BYTES else data[:_MAX_BYTES].decode(errors="ignore") + "..."
