"""One connection of the load generator to an HTTP server: a request at a time, its answer to whoever sent it.

Own code because httpx needs more of a core per request than the servers that are measured: this takes some ten
microseconds, parsing by httptools (llhttp) included.
"""

from __future__ import annotations

import asyncio
import gzip
import ssl
import zlib
from collections.abc import Callable
from typing import Protocol, TypeAlias, cast

import httptools

from loadtest import tensors

HEADER_LENGTH, ENCODING = tensors.HEADER_LENGTH.encode(), b"content-encoding"
TOLD = {len(HEADER_LENGTH), len(ENCODING)}
"""By their lengths most headers are known to be others."""


class Answer:
    """What came back; `error` if nothing whole did. `header_length`: where V2's binary tensors begin, if there are."""

    __slots__ = ("body", "encoding", "error", "header_length", "status")

    def __init__(
        self,
        status: int = 0,
        body: bytes = b"",
        error: str = "",
        header_length: int | None = None,
        encoding: bytes = b"",
    ) -> None:
        self.status = status
        self.body = body
        self.error = error
        self.header_length = header_length
        self.encoding = encoding

    @property
    def content(self) -> bytes:
        """The body, unpacked if it came packed. Raises ValueError for what cannot be."""
        if self.encoding in (b"", b"identity"):
            return self.body
        if self.encoding == b"gzip":
            return gzip.decompress(self.body)
        if self.encoding == b"deflate":
            return zlib.decompress(self.body)
        raise ValueError(f"unknown content-encoding {self.encoding.decode(errors='replace')!r}")


class Sender(Protocol):
    """What a request is given to: it takes one at a time, and answers it once."""

    open: bool
    shot: int
    """Which request is under way; -1: none. With `intended` a note of whoever sends."""
    intended: float

    def send(self, request: bytes) -> None:
        """A whole request. `shot` says that one is under way."""
        ...

    def abort(self, error: str) -> None:
        """Nobody waits for the answer any longer: it counts as `error`, and this is of no more use."""
        ...


Answered: TypeAlias = Callable[[Sender, Answer], None]


class Connection(asyncio.Protocol):
    """A `Sender` over HTTP. `answered` is called once for each request, then the next may be sent if it is `open`."""

    def __init__(self, answered: Answered) -> None:
        self.open = False
        self.shot = -1
        self.intended = 0.0
        self._answered = answered
        self._parser = httptools.HttpResponseParser(self)
        self._chunks: list[bytes] = []
        self._header_length: int | None = None
        self._encoding = b""

    def send(self, request: bytes) -> None:
        """See `Sender`."""
        self._transport.write(request)

    def abort(self, error: str) -> None:
        """See `Sender`."""
        self.open = False
        self._transport.abort()
        self._end(Answer(error=error))

    # -- asyncio.Protocol ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        self.open = True

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.abort(f"not HTTP: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self.open = False
        self._end(Answer(error="connection reset" if isinstance(exc, ConnectionResetError) else "connection closed"))

    # -- httptools ----------------------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools."""
        if len(name) not in TOLD:
            return
        name = name.lower()
        if name == HEADER_LENGTH:
            self._header_length = int(value)
        elif name == ENCODING:
            self._encoding = value.strip().lower()

    def on_body(self, data: bytes) -> None:
        """See httptools."""
        self._chunks.append(data)

    def on_message_complete(self) -> None:
        """See httptools."""
        chunks, header_length, encoding = self._chunks, self._header_length, self._encoding
        self._chunks, self._header_length, self._encoding = [], None, b""
        if not self._parser.should_keep_alive():
            self.open = False
            self._transport.close()
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self._end(Answer(self._parser.get_status_code(), body, "", header_length, encoding))

    def _end(self, answer: Answer) -> None:
        if self.shot >= 0:
            self._answered(self, answer)


class Connections:
    """Opens connections to one HTTP server; see `attack.Opener`."""

    def __init__(self, host: str, port: int, *, tls: bool = False) -> None:
        self._host, self._port = host, port
        self._tls = ssl.create_default_context() if tls else None

    async def open(self, answered: Answered) -> Connection:
        """Raises OSError if the server cannot be reached."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: Connection(answered), self._host, self._port, ssl=self._tls
        )
        return connection

    async def close(self) -> None:
        """Nothing is kept."""
