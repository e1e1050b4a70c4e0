"""One connection of the load generator to an HTTP server: a request at a time, its answer to whoever sent it.

Own code because httpx needs more of a core per request than the servers that are measured: this takes some ten
microseconds, parsing by httptools (llhttp) included.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias, cast

import httptools

HEADER_LENGTH = b"inference-header-content-length"


class Answer:
    """What came back. `header_length`: of the JSON part, if binary tensors follow; `error` if nothing whole did."""

    __slots__ = ("body", "error", "header_length", "status")

    def __init__(self, status: int = 0, body: bytes = b"", header_length: int | None = None, error: str = "") -> None:
        self.status = status
        self.body = body
        self.header_length = header_length
        self.error = error


Answered: TypeAlias = Callable[["Connection", Answer], None]


class Connection(asyncio.Protocol):
    """Give each request to `send`; `answered` is called once for it, then the next may be sent if it is `open`."""

    def __init__(self, answered: Answered) -> None:
        self.open = False
        self.bytes_in = 0
        self.shot = -1
        """Which request is under way; -1: none. With `intended` and `sent` a note of whoever sends."""
        self.intended = 0.0
        self.sent = 0.0
        self._answered = answered
        self._parser = httptools.HttpResponseParser(self)
        self._chunks: list[bytes] = []
        self._header_length: int | None = None

    def send(self, request: bytes) -> None:
        """A whole HTTP request. `shot` says that one is under way."""
        self._transport.write(request)

    def abort(self, error: str) -> None:
        """Nobody waits for the answer any longer: it counts as `error`, and the connection is of no more use."""
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
        self.bytes_in += len(data)
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
        self._end(Answer(self._parser.get_status_code(), body, header_length))

    def _end(self, answer: Answer) -> None:
        if self.shot >= 0:
            self._answered(self, answer)
