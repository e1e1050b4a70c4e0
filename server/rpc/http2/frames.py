"""Frames: the table of their types, and the bytes of those that are sent.

    length (3 bytes) | type (1) | flags (1) | stream (4, its first bit means nothing) | payload

Wire format: RFC 9113, "HTTP Frames" and "Frame Definitions".
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from server.rpc.http2.errors import Code, ConnectionFault

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client says first; its SETTINGS follow."""
HEAD: Final = struct.Struct(">HBBBL")
"""A frame's head: the length's upper 16 bits and lower 8, type, flags, stream."""
HEAD_BYTES: Final = HEAD.size
STREAM_BITS: Final = 0x7FFFFFFF
MAX_FRAME_BYTES: Final = 1 << 14
"""Longest payload taken, and the longest sent unless the peer takes more: what the protocol begins with."""

DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITIZED: Final = 0x20


class Rule(NamedTuple):
    """What every frame of a type has in common. `stream`: it is about one (None: may be); `size`: of its payload."""

    name: str
    stream: bool | None
    size: int | None = None


RULES: Final = {
    DATA: Rule("DATA", stream=True),
    HEADERS: Rule("HEADERS", stream=True),
    PRIORITY: Rule("PRIORITY", stream=True, size=5),
    RST_STREAM: Rule("RST_STREAM", stream=True, size=4),
    SETTINGS: Rule("SETTINGS", stream=False),
    PUSH_PROMISE: Rule("PUSH_PROMISE", stream=True),
    PING: Rule("PING", stream=False, size=8),
    GOAWAY: Rule("GOAWAY", stream=False),
    WINDOW_UPDATE: Rule("WINDOW_UPDATE", stream=None, size=4),
    CONTINUATION: Rule("CONTINUATION", stream=True),
}
"""Other types mean nothing and are passed over."""


def check(kind: int, stream: int, size: int) -> None:
    """Raise ConnectionFault if a frame of this type cannot be about `stream` or have this size."""
    rule = RULES.get(kind)
    if rule is None:
        return
    if rule.stream is not None and rule.stream != bool(stream):
        where = "one" if rule.stream else "none"
        raise ConnectionFault(Code.PROTOCOL_ERROR, f"{rule.name} is about {where} of the streams, found {stream}")
    if rule.size is not None and size != rule.size:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"{rule.name} has {rule.size} bytes, found {size}")


def unpadded(name: str, flags: int, payload: bytes) -> bytes:
    """`payload` less its padding. Raises ConnectionFault."""
    if not flags & PADDED:
        return payload
    if not payload:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"{name} is padded and has no byte for by how much")
    if payload[0] >= len(payload):
        raise ConnectionFault(Code.PROTOCOL_ERROR, f"{name} of {len(payload)} bytes has {payload[0]} of padding")
    return payload[1 : len(payload) - payload[0]]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame."""
    size = len(payload)
    return HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


def reset(stream: int, code: Code) -> bytes:
    """End a stream before its time."""
    return frame(RST_STREAM, 0, stream, code.to_bytes(4, "big"))


def goaway(last: int, code: Code, sentence: str = "") -> bytes:
    """Take no streams after `last`."""
    return frame(GOAWAY, 0, 0, struct.pack(">LL", last, code) + sentence.encode()[:1000])


def window_update(stream: int, size: int) -> bytes:
    """Let the peer send `size` bytes more; stream 0: on the whole connection."""
    return frame(WINDOW_UPDATE, 0, stream, size.to_bytes(4, "big"))
