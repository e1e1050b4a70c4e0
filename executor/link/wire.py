"""One end of the socket between two processes: messages with their length in front.

Each message is bytes; what is in them its user knows. It is written at once: the other process begins with it while
this one makes the next. Along with the first word, who connects hands over two files, the arenas (`arena`) for the
tensors that go there and for those that come back.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import cast

_LENGTH = 4
_HELLO = b"headrace"
_ARENAS = 2
_HELLO_S = 1.0
"""Whoever connects says its first word at once, or is not one of ours."""


class Wire(asyncio.Protocol):
    """`heard` is called with each message, `lost` once, when the other end is gone or `close` was called."""

    def __init__(self, heard: Callable[[bytes], None], lost: Callable[[], None]) -> None:
        self._heard = heard
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._received = b""

    def send(self, message: bytes) -> None:
        """To nobody if the other end is gone."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(len(message).to_bytes(_LENGTH, "little") + message)

    def close(self) -> None:
        """What was sent still goes out."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        data = self._received + data if self._received else data
        at = 0
        while len(data) - at >= _LENGTH:
            end = at + _LENGTH + int.from_bytes(data[at : at + _LENGTH], "little")
            if end > len(data):
                break
            self._heard(data[at + _LENGTH : end])
            at = end
        self._received = data[at:]

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._transport = None
        self._lost()


async def connect(path: Path, arenas: tuple[int, int], wire: Callable[[], Wire]) -> Wire:
    """To the process that listens at `path`, and hand it the arenas: first that for what goes there. Raises OSError."""
    end = socket.socket(socket.AF_UNIX)
    try:
        end.connect(str(path))
        socket.send_fds(end, [_HELLO], arenas)
        end.setblocking(False)
    except OSError:
        end.close()
        raise
    _, protocol = await asyncio.get_running_loop().create_connection(wire, sock=end)
    return protocol


def listen(path: Path) -> socket.socket:
    """At `path`, which is removed first. Raises OSError."""
    path.unlink(missing_ok=True)
    end = socket.socket(socket.AF_UNIX)
    end.bind(str(path))
    end.listen()
    end.setblocking(False)
    return end


async def accept(listening: socket.socket) -> tuple[socket.socket, tuple[int, int]]:
    """Who connects next, and the two arenas that it brought."""
    loop = asyncio.get_running_loop()
    while True:
        end, _ = await loop.sock_accept(listening)
        files: list[int] = []
        with contextlib.ExitStack() as unless_welcome:
            unless_welcome.callback(end.close)
            with contextlib.suppress(OSError):  # TimeoutError is one
                async with asyncio.timeout(_HELLO_S):
                    await _readable(end)
                _, files, _, _ = socket.recv_fds(end, len(_HELLO), _ARENAS)
            if len(files) == _ARENAS:
                unless_welcome.pop_all()
                return end, (files[0], files[1])


async def _readable(end: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    there = asyncio.Event()
    loop.add_reader(end, there.set)
    try:
        await there.wait()
    finally:
        loop.remove_reader(end)
