"""What the head of an infer request says: read once, by the same function on the short cut and under ASGI."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from headrace.errors import BadRequest, UnsupportedMedia
from server.patience import TIMEOUT, timeout_us

_TIMEOUT = TIMEOUT.encode()

SPOKEN = frozenset(
    {
        b"",
        b"application/json",
        b"application/octet-stream",
        b"application/x-www-form-urlencoded",  # what `curl -d` says of any body
        b"text/plain",  # what a browser's fetch says of a string
    }
)
"""Media types whose body is taken for a V2 request."""


class Head(msgspec.Struct):
    """The headers that matter to infer. `header_length` None: the body is all JSON; 0: all one tensor. Of requests that
    leave the version to a split, those with the same `sticky` get the same one. `timeout_us` 0: none is given here.
    """

    content_length: int | None = None
    header_length: int | None = None
    content_encoding: bytes = b""
    accept_encoding: bytes = b""
    sticky: str = ""
    timeout_us: int = 0
    unusual: bool = False
    """The request must take the ASGI way: chunked, Expect, Upgrade, or compressed."""


def read_head(headers: Iterable[tuple[bytes, bytes]]) -> Head:
    """The head in raw headers (names in lower case). Raises BadRequest and UnsupportedMedia."""
    head = Head()
    for name, value in headers:
        if name == b"content-length":
            head.content_length = _count("Content-Length", value)
        elif name == b"content-type":
            if value not in SPOKEN and value.partition(b";")[0].strip().lower() not in SPOKEN:
                raise UnsupportedMedia(
                    f"content-type {value[:60].decode('latin-1')!r} is not supported;"
                    " send application/json, or application/octet-stream with binary tensors"
                )
        elif name == b"inference-header-content-length":
            head.header_length = _count("Inference-Header-Content-Length", value)
        elif name == b"accept-encoding":
            head.accept_encoding = value
        elif name == b"headrace-sticky":
            head.sticky = value.strip().decode("latin-1")
        elif name == _TIMEOUT:
            head.timeout_us = timeout_us(value.decode("latin-1"))
        elif name == b"content-encoding":
            head.content_encoding = value
            head.unusual = True
        elif name in (b"transfer-encoding", b"expect", b"upgrade"):
            head.unusual = True
    return head


def _count(header: str, value: bytes) -> int:
    if not value.isdigit() or len(value) > 18:
        raise BadRequest(f"{header} is a number of bytes, found {value[:40].decode('latin-1')!r}")
    return int(value)
