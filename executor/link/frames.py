"""Messages over a socket for threads that may wait: each with its length in front."""

from __future__ import annotations

import socket

_LENGTH = 4


def send(end: socket.socket, message: bytes) -> None:
    """Raises OSError if the other end is gone. One thread at a time."""
    end.sendall(len(message).to_bytes(_LENGTH, "little") + message)


def receive(end: socket.socket) -> bytes | None:
    """The next message; None if the other end is gone. One thread at a time."""
    head = _exactly(end, _LENGTH)
    return None if head is None else _exactly(end, int.from_bytes(head, "little"))


def _exactly(end: socket.socket, count: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < count:
        try:
            part = end.recv(count - len(parts))
        except ConnectionError:
            return None
        if not part:
            return None
        parts += part
    return bytes(parts)
