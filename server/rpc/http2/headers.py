"""Header blocks (HPACK, RFC 7541): read once, then known by their bytes; and ours, which are written once.

A client sends the same headers all the time. Once its dynamic table has them, equal blocks mean equal headers for as
long as the table does not change, so what `interpret` made of a block is kept under its bytes. Receives whole blocks
from `connection`. Invariants: 1. `known` holds only what reading the block now would give. 2. What a block unpacks to
is bounded, and so is what is kept. Blocks of ours use no table: they are the same bytes for every peer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeAlias, TypeVar

from hpack import Decoder, HPACKError, OversizedHeaderListError
from hpack.table import HeaderTable

from server.rpc.http2.errors import Code, ConnectionFault
from server.rpc.http2.frames import END_HEADERS, END_STREAM, HEADERS

MAX_BLOCK_BYTES: Final = 32 << 10
MAX_LIST_BYTES: Final = 64 << 10
"""Of a block's headers, 32 more counted for each, as HPACK does: past it the connection ends."""
LARGEST_KNOWN: Final = 512
MOST_KNOWN: Final = 64

Headers: TypeAlias = list[tuple[bytes, bytes]]
Opening = TypeVar("Opening")


class _Table(HeaderTable):
    """Tells that it has changed."""

    changes = 0

    def add(self, name: bytes, value: bytes) -> None:
        self.changes += 1
        super().add(name, value)

    @property
    def maxsize(self) -> int:
        return super().maxsize

    @maxsize.setter
    def maxsize(self, size: int) -> None:
        self.changes += 1
        HeaderTable.maxsize.__set__(self, size)  # type: ignore[attr-defined]


class Blocks(Generic[Opening]):
    """The blocks of one connection. `interpret` makes of a list of headers whatever it means."""

    __slots__ = ("_decoder", "_interpret", "_table", "known")

    def __init__(self, interpret: Callable[[Headers], Opening]) -> None:
        self._interpret = interpret
        self.known: dict[bytes, Opening] = {}
        self._table = _Table()
        self._decoder = Decoder(MAX_LIST_BYTES)
        self._decoder.header_table = self._table

    def read(self, block: bytes) -> Opening:
        """What `block` means, and may raise as `interpret` does. Raises ConnectionFault."""
        changes = self._table.changes
        opening = self._interpret(self.decode(block))
        if self._table.changes == changes and len(block) <= LARGEST_KNOWN:
            if len(self.known) >= MOST_KNOWN:
                self.known.clear()
            self.known[block] = opening
        return opening

    def decode(self, block: bytes) -> Headers:
        """The headers in `block`. Every block must pass here or be `known`, for the table's sake."""
        changes = self._table.changes
        try:
            headers = [(bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True)]
        except OversizedHeaderListError:
            said = f"headers of more than {MAX_LIST_BYTES} bytes"
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, said) from None
        except HPACKError as error:
            raise ConnectionFault(Code.COMPRESSION_ERROR, f"not a header block: {error}") from None
        finally:
            if self._table.changes != changes:
                self.known.clear()
        return headers


class Block:
    """Headers that are sent again and again: all of the frame but the number of its stream."""

    __slots__ = ("front", "payload")

    def __init__(self, headers: Iterable[tuple[bytes, bytes]], *, ends: bool = False) -> None:
        self.payload = b"".join(_field(name, value) for name, value in headers)
        flags = END_HEADERS | END_STREAM if ends else END_HEADERS
        self.front = len(self.payload).to_bytes(3, "big") + bytes((HEADERS, flags))

    def frame(self, number: int, prefix: bytes = b"") -> bytes:
        """The frame for stream `number`; `prefix` is a word to the table before the headers."""
        size = (len(prefix) + len(self.payload)).to_bytes(3, "big")
        return b"".join((size, self.front[3:], number.to_bytes(4, "big"), prefix, self.payload))


NO_TABLE: Final = b"\x20"
"""Begins the first block of a connection: the peer need keep no table, whatever it has offered."""
_INDEXED: Final = {(b":status", b"200"): b"\x88"}
_NAMES: Final = {b":status": b"\x08", b"content-type": b"\x0f\x10"}
"""Names in the static table, as the beginning of a literal that nobody is to index."""


def _field(name: bytes, value: bytes) -> bytes:
    if (name, value) in _INDEXED:
        return _INDEXED[name, value]
    return (_NAMES.get(name) or b"\x00" + _text(name)) + _text(value)


def _text(data: bytes) -> bytes:
    size = len(data)
    if size < 0x7F:
        return bytes((size,)) + data
    encoded = bytearray(b"\x7f")
    size -= 0x7F
    while size > 0x7F:
        encoded.append(size & 0x7F | 0x80)
        size >>= 7
    encoded.append(size)
    return bytes(encoded) + data
