"""Length-prefixed messages: pieces of a stream's bytes in, whole messages out, unpacked.

    packed (1 byte) | length (4 bytes) | message

Receives pieces from `call`, as they come. Invariants: 1. The size of a message is known as soon as its prefix is there
(`missing`), so that room can be made for it in time, or it can be refused. 2. A message is not unpacked before somebody
takes it: a thousand that wait are no larger than they were sent.

Wire format: gRPC over HTTP/2, "Length-Prefixed-Message" and "Message-Encoding".
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, TypeAlias

from headrace.errors import BadRequest, TooLarge
from server.rpc.status import Code, RpcError

PREFIX: Final = struct.Struct(">BL")
PREFIX_BYTES: Final = PREFIX.size

Unpack: TypeAlias = Callable[[bytes, int], bytes]
"""A packed message and the limit -> the message."""


class Sent(NamedTuple):
    """A message as it was sent."""

    data: bytes
    packed: int

    @property
    def size(self) -> int:
        """Bytes that it took."""
        return PREFIX_BYTES + len(self.data)


def _inflate(data: bytes, limit: int, bits: int) -> bytes:
    inflater = zlib.decompressobj(bits)
    try:
        message = inflater.decompress(data, limit + 1)
    except zlib.error as error:
        raise BadRequest(f"the message cannot be unpacked: {error}") from None
    if len(message) > limit:
        raise TooLarge(f"the message has more than {limit} bytes when it is unpacked (max_body_bytes)")
    if not inflater.eof:
        raise BadRequest("the message cannot be unpacked: it is cut off")
    return message


def _inflate_gzip(data: bytes, limit: int) -> bytes:
    return _inflate(data, limit, 16 + zlib.MAX_WBITS)


def _inflate_zlib(data: bytes, limit: int) -> bytes:
    return _inflate(data, limit, zlib.MAX_WBITS)


def _not_packed(data: bytes, limit: int) -> bytes:
    raise RpcError(Code.INTERNAL, "the message says that it is packed, and the call's headers do not say how")


UNPACKERS: Final[dict[bytes, Unpack]] = {b"identity": _not_packed, b"gzip": _inflate_gzip, b"deflate": _inflate_zlib}
"""grpc-encoding -> what unpacks it."""


def prefix(message: bytes) -> bytes:
    """What goes before `message`, which is not packed."""
    return b"\0" + len(message).to_bytes(4, "big")


class Messages:
    """What a stream's bytes are messages of."""

    __slots__ = ("_have", "_limit", "_packed", "_pieces", "_size", "_unpack")

    def __init__(self, limit: int, unpack: Unpack) -> None:
        self._limit = limit
        self._unpack = unpack
        self._pieces: list[bytes] = []
        self._have = 0
        self._size = -1
        self._packed = 0

    @property
    def partial(self) -> bool:
        """A message has begun and not ended."""
        return self._size >= 0 or bool(self._have)

    @property
    def missing(self) -> int:
        """Bytes of the message that has begun which are still to come, as far as is known."""
        return self._size - self._have if self._size >= 0 else 0

    def feed(self, data: bytes) -> Iterator[Sent]:
        """The messages that `data` completes. Raises TooLarge, RpcError: then the stream cannot be read on."""
        at = 0
        while True:
            wanted = (PREFIX_BYTES if self._size < 0 else self._size) - self._have
            piece = data[at : at + wanted] if at or wanted < len(data) else data
            self._have += len(piece)
            at += len(piece)
            if piece:
                self._pieces.append(piece)
            if len(piece) < wanted:
                return
            whole = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
            self._pieces, self._have = [], 0
            if self._size < 0:
                self._begin(*PREFIX.unpack(whole))
            else:
                self._size = -1
                yield Sent(whole, self._packed)

    def unpacked(self, sent: Sent) -> bytes:
        """The message. Raises TooLarge, BadRequest, RpcError."""
        return self._unpack(sent.data, self._limit) if sent.packed else sent.data

    def _begin(self, packed: int, size: int) -> None:
        if packed > 1:
            raise RpcError(Code.INTERNAL, f"a message is packed (1) or not (0), found {packed}")
        if size > self._limit:
            raise TooLarge(f"the message has {size} bytes, at most {self._limit} are taken (max_body_bytes)")
        self._packed, self._size = packed, size
