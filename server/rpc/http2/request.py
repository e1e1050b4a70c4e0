"""A request's headers, checked: the four that HTTP/2 itself wants, and the others.

Wire format: RFC 9113, "HTTP Control Data", "HTTP Fields". A request that is malformed is a fault of its stream.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, NoReturn

from server.rpc.http2.errors import Code, StreamFault
from server.rpc.http2.headers import Headers

_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_VALUE: Final = re.compile(rb"[^\0\r\n]*")
"""Blanks at the ends are forbidden, too; but grpc sends what it is given as metadata."""
_CONTROL: Final = (b":method", b":scheme", b":path", b":authority")
_OF_CONNECTIONS: Final = frozenset(
    (b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade")
)


class Request(NamedTuple):
    """`length`: of the body, if the request says so; `fields` are all the headers that are not control data."""

    method: bytes
    path: bytes
    length: int | None
    fields: Headers


def read_request(headers: Headers) -> Request:
    """The request that `headers` make. Raises StreamFault."""
    control: dict[bytes, bytes] = {}
    fields: Headers = []
    length: int | None = None
    for name, value in headers:
        if not _VALUE.fullmatch(value):
            _malformed(f"the value of {name!r} has characters that no header has")
        if name.startswith(b":"):
            if name not in _CONTROL or name in control or fields:
                _malformed(f"{name!r} is unknown, there already, or behind other headers")
            control[name] = value
            continue
        if not _NAME.fullmatch(name):
            _malformed(f"no header is called {name!r}")
        if name in _OF_CONNECTIONS or (name == b"te" and value != b"trailers"):
            _malformed(f"{name!r} is about a connection of HTTP/1")
        if name == b"content-length":
            if not value.isdigit() or len(value) > 18 or (length is not None and length != int(value)):
                _malformed(f"content-length is one number, found {value!r}")
            length = int(value)
        fields.append((name, value))
    for name in _CONTROL[:3]:
        if not control.get(name):
            _malformed(f"{name!r} is missing")
    return Request(control[b":method"], control[b":path"], length, fields)


def _malformed(sentence: str) -> NoReturn:
    raise StreamFault(Code.PROTOCOL_ERROR, sentence[:200])
