"""What ends a connection or one of its streams before its time.

Wire format: RFC 9113, "Error Codes".
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from server.rpc.http2.headers import Block


class Code(enum.IntEnum):
    """Why, as the peer is told."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


class ConnectionFault(Exception):
    """The peer gets a GOAWAY with this code and sentence, and the connection ends."""

    def __init__(self, code: Code, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class StreamFault(Exception):
    """The peer gets a RST_STREAM with this code; the connection goes on."""

    def __init__(self, code: Code, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class Answered(Exception):
    """Headers that need no stream: `block` is the whole answer."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.block = block
