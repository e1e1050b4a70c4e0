"""SETTINGS: what we ask of a peer, and what it asks of us.

Wire format: RFC 9113, "SETTINGS". Of a peer's settings three change what is sent to it; the others are checked only.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from server.rpc.http2.errors import Code, ConnectionFault
from server.rpc.http2.frames import MAX_FRAME_BYTES, SETTINGS, frame

HEADER_TABLE_SIZE: Final = 0x1
ENABLE_PUSH: Final = 0x2
MAX_CONCURRENT_STREAMS: Final = 0x3
INITIAL_WINDOW_SIZE: Final = 0x4
MAX_FRAME_SIZE: Final = 0x5
MAX_HEADER_LIST_SIZE: Final = 0x6

WINDOW: Final = 65_535
"""Bytes that may be sent on a new stream, and on a new connection, unless somebody says otherwise."""
ROOM: Final = 256 << 10
"""Bytes that a peer may send on a new stream of ours: most messages, and the first round trip of the others."""
MAX_WINDOW: Final = 2**31 - 1
_SETTING: Final = struct.Struct(">HL")


class Bounds(NamedTuple):
    """The values a setting may have, and what it is to the peer if it has another."""

    low: int
    high: int
    code: Code


_BOUNDS: Final = {
    ENABLE_PUSH: Bounds(0, 1, Code.PROTOCOL_ERROR),
    INITIAL_WINDOW_SIZE: Bounds(0, MAX_WINDOW, Code.FLOW_CONTROL_ERROR),
    MAX_FRAME_SIZE: Bounds(MAX_FRAME_BYTES, 2**24 - 1, Code.PROTOCOL_ERROR),
}


def settings(values: dict[int, int]) -> bytes:
    """The frame that asks for `values`."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*each) for each in values.items()))


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """What the peer asks for, in order. Raises ConnectionFault."""
    if len(payload) % _SETTING.size:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"a setting has 6 bytes, SETTINGS has {len(payload)}")
    found = list(_SETTING.iter_unpack(payload))
    for identifier, value in found:
        bounds = _BOUNDS.get(identifier)
        if bounds is not None and not bounds.low <= value <= bounds.high:
            raise ConnectionFault(bounds.code, f"setting {identifier} is {bounds.low} to {bounds.high}, found {value}")
    return found
