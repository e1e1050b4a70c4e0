"""A call's headers, read: which method, by when, how its messages are packed, and what they say of an infer request.

Made from a request's headers once, and kept by their bytes (`http2.headers`), so a call whose headers are known costs
a look-up. What can be refused by its headers is, before a stream exists for it.

Wire format: gRPC over HTTP/2, "Requests".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NoReturn

from headrace.errors import BadRequest
from server.rpc.calls import Streaming, Unary
from server.rpc.framing import UNPACKERS
from server.rpc.head import Head, read_head
from server.rpc.http2.connection import MAX_HEADERS_BYTES, Connection
from server.rpc.http2.errors import Answered
from server.rpc.http2.headers import Headers
from server.rpc.http2.request import read_request
from server.rpc.http2.stream import Stream
from server.rpc.status import Code
from server.rpc.stream_call import StreamCall
from server.rpc.trailers import ending, plain_http
from server.rpc.unary_call import UnaryCall

_CONTENT_TYPE: Final = re.compile(rb"application/grpc(?:\+proto)?(?:;.*)?", re.DOTALL)
_TIMEOUT: Final = re.compile(rb"([0-9]{1,8})([HMSmun])")
_UNITS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_LONGEST_S: Final = 365 * 86_400.0
"""Deadlines beyond it are none."""


class Opening:
    """One way in which calls begin."""

    __slots__ = ("_kind", "head", "length", "limit", "method", "timeout_s", "unpack")

    def __init__(
        self,
        method: Unary | Streaming,
        *,
        limit: int,
        length: int | None = None,
        timeout_s: float | None = None,
        packing: bytes = b"identity",
        head: Head | BadRequest | None = None,
    ) -> None:
        self._kind = UnaryCall if isinstance(method, Unary) else StreamCall
        self.method = method
        self.limit = limit
        self.length = length
        """Of the request, if its headers say so."""
        self.timeout_s = timeout_s
        self.unpack = UNPACKERS[packing]
        self.head = head or Head()
        """What it says of an infer request, less the deadline; or why it cannot."""

    def begin(self, connection: Connection, number: int) -> Stream:
        """See `http2.connection.Opening`."""
        return self._kind(connection, number, self)


def read_opening(headers: Headers, methods: Mapping[bytes, Unary | Streaming], limit: int) -> Opening:
    """The opening that `headers` are, of calls whose messages have at most `limit` bytes.

    Raises StreamFault if they are none of HTTP's, Answered if they open no call.
    """
    request = read_request(headers)
    fields = dict(request.fields)
    if not _CONTENT_TYPE.fullmatch(fields.get(b"content-type", b"")):
        raise Answered(plain_http(415))
    if request.method != b"POST":
        raise Answered(plain_http(405))
    size = sum(len(name) + len(value) + 32 for name, value in headers)
    if size > MAX_HEADERS_BYTES:
        _refuse(Code.RESOURCE_EXHAUSTED, f"the call's headers have {size} bytes, at most {MAX_HEADERS_BYTES} are taken")
    method = methods.get(request.path)
    if method is None:
        _refuse(Code.UNIMPLEMENTED, f"there is no method {request.path[:200].decode(errors='replace')}")
    packing = fields.get(b"grpc-encoding", b"identity")
    if packing not in UNPACKERS:
        taken = b",".join(UNPACKERS).decode()
        said = f"messages are packed as {taken}, not as {packing[:40].decode(errors='replace')!r}"
        raise Answered(ending(Code.UNIMPLEMENTED, said, (("grpc-accept-encoding", taken),), begun=False))
    try:
        head: Head | BadRequest = read_head(request.fields)
    except BadRequest as error:
        head = error
    timeout_s = _timeout_s(fields.get(b"grpc-timeout"))
    return Opening(method, limit=limit, length=request.length, timeout_s=timeout_s, packing=packing, head=head)


def _timeout_s(value: bytes | None) -> float | None:
    if value is None:
        return None
    found = _TIMEOUT.fullmatch(value)
    if found is None:
        _refuse(Code.INTERNAL, f"grpc-timeout is a number of at most 8 digits and a unit, found {value[:40]!r}")
    seconds = int(found[1]) * _UNITS[found[2]]
    return seconds if seconds < _LONGEST_S else None


def _refuse(code: Code, sentence: str) -> NoReturn:
    raise Answered(ending(code, sentence, begun=False))
