"""A request that is sent again and again: its bytes, and what its answer should be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from loadtest.answers import Check
from loadtest.tensors import Headers


@dataclass(slots=True)
class Shot:
    """`request`: head and body, ready to be written. `check` None: every answer with a status of 2xx is right."""

    model: str
    request: bytes
    check: Check | None = None


Shots: TypeAlias = list[Shot]


def http_post(path: str, host: str, headers: Headers, body: bytes) -> bytes:
    """The bytes of an HTTP/1.1 request."""
    lines = [f"POST {path} HTTP/1.1", f"host: {host}", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join((*lines, "", "")).encode() + body
