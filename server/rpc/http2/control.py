"""Frames that are about no message: header blocks being gathered, windows, settings, resets, pings.

Called by `connection` with a frame that is whole and whose size and stream are what the table in `frames` says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from server.rpc.http2 import frames, settings
from server.rpc.http2.errors import Code, ConnectionFault
from server.rpc.http2.goodwill import IDLE_FRAME, PINGED, RESET, SET

if TYPE_CHECKING:
    from server.rpc.http2.connection import Connection

MAX_CONTINUATIONS: Final = 32


class Block(NamedTuple):
    """A header block, whole or not. `depends_on`: the stream that it says is its parent, 0 if none."""

    number: int
    data: bytes
    ended: int
    depends_on: int
    parts: int = 1


def begun(flags: int, number: int, payload: bytes) -> Block:
    """The block that HEADERS begins. Raises ConnectionFault."""
    data, parent = frames.unpadded("HEADERS", flags, payload), 0
    if flags & frames.PRIORITIZED:
        if len(data) < 5:
            raise ConnectionFault(
                Code.FRAME_SIZE_ERROR, f"HEADERS with a priority has it in 5 bytes, found {len(data)}"
            )
        parent = int.from_bytes(data[:4], "big") & frames.STREAM_BITS
        data = data[5:]
    return Block(number, data, flags & frames.END_STREAM, parent)


def continued(block: Block | None, number: int, payload: bytes) -> Block:
    """`block` with what CONTINUATION adds. Raises ConnectionFault."""
    if block is None or block.number != number:
        raise ConnectionFault(Code.PROTOCOL_ERROR, f"CONTINUATION for stream {number} without HEADERS before it")
    if block.parts >= MAX_CONTINUATIONS:
        raise ConnectionFault(Code.ENHANCE_YOUR_CALM, f"a header block in more than {MAX_CONTINUATIONS} parts")
    return block._replace(data=block.data + payload, parts=block.parts + 1)


def _priority(connection: Connection, flags: int, number: int, payload: bytes) -> None:
    connection.goodwill.spend(IDLE_FRAME, "PRIORITY")
    if int.from_bytes(payload[:4], "big") & frames.STREAM_BITS == number:
        stream = connection.streams.get(number)
        if stream is None:
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"stream {number} depends on itself")
        connection.blame(stream, Code.PROTOCOL_ERROR)


def _reset(connection: Connection, flags: int, number: int, payload: bytes) -> None:
    stream = connection.streams.get(number)
    if stream is None and number > connection.latest:
        raise ConnectionFault(Code.PROTOCOL_ERROR, f"RST_STREAM for stream {number}, which never began")
    if stream is not None:
        connection.gone(stream)
    young = stream is not None and number > connection.young
    connection.goodwill.spend(RESET if young else IDLE_FRAME, "RST_STREAM")


def _settings(connection: Connection, flags: int, number: int, payload: bytes) -> None:
    if flags & frames.ACK:
        if payload:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"an acknowledgement is empty, found {len(payload)} bytes")
        connection.goodwill.spend(IDLE_FRAME, "SETTINGS")
        return
    connection.settled = True
    outbox = connection.outbox
    for identifier, value in settings.read_settings(payload):
        if identifier == settings.INITIAL_WINDOW_SIZE:
            outbox.reset_windows(value, list(connection.streams.values()))
        elif identifier == settings.MAX_FRAME_SIZE:
            outbox.frame_bytes = value
    outbox.control(frames.frame(frames.SETTINGS, frames.ACK, 0))
    connection.goodwill.spend(SET, "SETTINGS")


def _push_promise(connection: Connection, flags: int, number: int, payload: bytes) -> None:
    raise ConnectionFault(Code.PROTOCOL_ERROR, "PUSH_PROMISE from a client")


def _ping(connection: Connection, flags: int, number: int, payload: bytes) -> None:
    if flags & frames.ACK:
        connection.goodwill.spend(IDLE_FRAME, "PING")
        return
    connection.outbox.control(frames.frame(frames.PING, frames.ACK, 0, payload))
    connection.goodwill.spend(PINGED, "PING")


def _goaway(connection: Connection, flags: int, number: int, payload: bytes) -> None:
    """The client begins no more streams; those that there are go on."""
    if len(payload) < 8:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"GOAWAY has 8 bytes or more, found {len(payload)}")
    connection.goodwill.spend(IDLE_FRAME, "GOAWAY")


def _window_update(connection: Connection, flags: int, number: int, payload: bytes) -> None:
    size = int.from_bytes(payload, "big") & frames.STREAM_BITS
    stream = connection.streams.get(number)
    if number > connection.latest:
        raise ConnectionFault(Code.PROTOCOL_ERROR, f"WINDOW_UPDATE for stream {number}, which never began")
    if not size and stream is not None:
        connection.blame(stream, Code.PROTOCOL_ERROR)
    elif not size:
        raise ConnectionFault(Code.PROTOCOL_ERROR, "WINDOW_UPDATE by nothing")
    elif number == 0:
        connection.outbox.widen(None, size)
    elif stream is not None and not connection.outbox.widen(stream, size):
        connection.blame(stream, Code.FLOW_CONTROL_ERROR)
    connection.goodwill.spend(IDLE_FRAME, "WINDOW_UPDATE")


def ignored(connection: Connection, flags: int, number: int, payload: bytes) -> None:
    """A type that nobody knows here."""
    connection.goodwill.spend(IDLE_FRAME, "frames of unknown types")


HANDLERS: Final[dict[int, Callable[[Connection, int, int, bytes], None]]] = {
    frames.PRIORITY: _priority,
    frames.RST_STREAM: _reset,
    frames.SETTINGS: _settings,
    frames.PUSH_PROMISE: _push_promise,
    frames.PING: _ping,
    frames.GOAWAY: _goaway,
    frames.WINDOW_UPDATE: _window_update,
}
