"""One connection of the load generator to an HTTP server: a request at a time, its answer to whoever sent it.

Own code because httpx needs more of a core per request than the servers that are measured: this takes some ten
microseconds, parsing by httptools (llhttp) included.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeAlias, cast

import httptools

from loadtest import tensors

HEADER_LENGTH = tensors.HEADER_LENGTH.encode()

Decode: TypeAlias = Callable[[bytes], tensors.Tensors]


class Answer:
    """What came back; `error` if nothing whole did. `decode` reads the tensors in the body."""

    __slots__ = ("body", "decode", "error", "status")

    def __init__(self, status: int = 0, body: bytes = b"", error: str = "", decode: Decode = tensors.decode) -> None:
        self.status = status
        self.body = body
        self.error = error
        self.decode = decode


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
        if name.lower() == HEADER_LENGTH:
            self._header_length = int(value)

    def on_body(self, data: bytes) -> None:
        """See httptools."""
        self._chunks.append(data)

    def on_message_complete(self) -> None:
        """See httptools."""
        chunks, header_length = self._chunks, self._header_length
        self._chunks, self._header_length = [], None
        if not self._parser.should_keep_alive():
            self.open = False
            self._transport.close()
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        decode = tensors.decode if header_length is None else partial(tensors.decode, header_length=header_length)
        self._end(Answer(self._parser.get_status_code(), body, decode=decode))

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
