"""The HTTP connection: a short cut for plain infer requests, uvicorn and ASGI for everything else.

    bytes -> httptools -> [plain infer?] - yes -> Turn: decode -> DataPlane.submit ... answer -> encode -> bytes
                                         - no --> uvicorn's RequestResponseCycle -> FastAPI

Subclass of uvicorn's protocol class, whose parser, pipelining and ASGI cycle it keeps. What is unusual (chunked,
Expect, Upgrade, compressed, HTTP/1.0, Connection: close, pipelined behind an unanswered request, escaped or unknown
URL) falls through; answers are the same both ways. A head that was found plain is remembered, and the next one with
the same bytes does not go through the parser at all. Invariants: 1. At most one Turn is unanswered per connection, so
answers keep their order. 2. A client that goes away (end of stream included) cancels its Turn. 3. A client that does
not read its answers is not read from.
"""

from __future__ import annotations

import http
from collections.abc import Callable
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from headrace.errors import ServingError
from headrace.requests import InferRequest, InferResponse
from server.dataplane import Ticket
from server.rest.answers import Reply, read, refusal, reply
from server.rest.head import Head, read_head
from server.rest.site import Site, Target

MAX_HEAD_BYTES = 64 << 10
MAX_URL_BYTES = 8 << 10
_STATUS = {status.value: b"HTTP/1.1 %d %s\r\n" % (status, status.phrase.encode()) for status in http.HTTPStatus}
_STATUS[499] = b"HTTP/1.1 499 Client Closed Request\r\n"


class _Refused(Exception):
    """Raised inside a parser callback to end the connection: (status, sentence)."""


class _NoEvent:
    """Stands for the event of an ASGI cycle where uvicorn sets it for whoever waits: nobody does."""

    def set(self) -> None:
        pass


class Turn:
    """One infer request on the short cut, and its answer. To uvicorn it looks like the cycle of an ASGI request."""

    __slots__ = ("_connection", "_head", "_request", "_target", "_ticket", "keep_alive", "response_complete")

    message_event = _NoEvent()

    def __init__(self, connection: ShortCut, target: Target, head: Head) -> None:
        self._connection = connection
        self._target = target
        self._head = head
        self._request: InferRequest | None = None
        self._ticket: Ticket | None = None
        self.keep_alive = True
        self.response_complete = False

    def begin(self, body: bytes) -> None:
        """The body is whole: decode and submit."""
        site, target = self._connection.site, self._target
        try:
            self._request = read(site.plane, target.model, target.version, self._head, body, site.max_body_bytes)
        except Exception as error:
            site.plane.refused(error)
            self._write(refusal(error))
            return
        try:
            self._ticket = site.plane.submit(self._request, self._answer)
        except Exception as error:
            self._write(refusal(error))

    @property
    def disconnected(self) -> bool:
        """Whether the client is known to be gone."""
        return self.response_complete

    @disconnected.setter
    def disconnected(self, gone: bool) -> None:  # uvicorn says so in connection_lost
        if gone and not self.response_complete:
            self.response_complete = True
            if self._ticket is not None:
                self._ticket.cancel()

    def _answer(self, outcome: InferResponse | ServingError) -> None:
        assert self._request is not None
        self._write(reply(outcome, self._request, self._head))

    def _write(self, answer: Reply) -> None:
        self._ticket = self._request = None
        self.response_complete = True
        self._connection.write_reply(answer, self.keep_alive)


class ShortCut(HttpToolsProtocol):
    """One HTTP connection of a replica. `lost` is called once, when it is gone."""

    cycle: Any

    def __init__(self, site: Site, lost: Callable[[], None]) -> None:
        super().__init__(site.uvicorn, site.state, {})
        self.site = site
        self._lost = lost
        self._turn: Turn | None = None
        self._chunks: list[bytes] = []
        self._raw_head = b""
        """The bytes up to the first empty line, while they may be those of the request being parsed."""
        self._in_head = False
        self._head_bytes = 0
        self._receiving = False
        self._since = site.now

    # -- reading ----------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        end = data.find(b"\r\n\r\n") + 4
        cycle = self.cycle
        if not self._receiving and (cycle is None or cycle.response_complete):
            known = self.site.heads.get(data[:end])
            if known is not None and known.length == len(data):
                self._since = self.site.now
                self.cycle = turn = Turn(self, known.target, known.head)
                turn.begin(data[end:])
                return
            self._raw_head = data[:end]
        was_in_head = self._in_head
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # no upgrade is spoken here; the request has been answered as if it had not asked
        except httptools.HttpParserError as error:
            cause = error.__context__
            if isinstance(cause, _Refused):
                self.refuse(*cause.args)
            else:
                self.refuse(400, f"this is not an HTTP/1.1 request: {error}")
            return
        if was_in_head and self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.refuse(431, f"the request's head is longer than {MAX_HEAD_BYTES} bytes")

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._in_head = self._receiving = True
        self._head_bytes = 0
        self._since = self.site.now

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > MAX_URL_BYTES:
            raise _Refused(414, f"the URL is longer than {MAX_URL_BYTES} bytes")

    def on_headers_complete(self) -> None:
        self._in_head = False
        target = self.site.target(self.url)
        cycle = self.cycle
        if target is None or not (cycle is None or cycle.response_complete) or self.parser.get_method() != b"POST":
            self._fall_through()
            return
        try:
            head = read_head(self.headers)
        except ServingError:
            self._fall_through()
            return
        if (
            head.unusual
            or not self.parser.should_keep_alive()
            or (head.content_length or 0) > self.site.max_body_bytes
            or self.parser.get_http_version() != "1.1"
        ):
            self._fall_through()
            return
        self.cycle = self._turn = Turn(self, target, head)
        self._chunks = []
        if self._raw_head:
            self.site.learn(self._raw_head, target, head)
            self._raw_head = b""

    def on_body(self, body: bytes) -> None:
        if self._turn is not None:
            self._chunks.append(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._receiving = False
        turn = self._turn
        if turn is None:
            super().on_message_complete()
        else:
            self._turn = None
            turn.begin(self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks))
            self._chunks = []

    def _fall_through(self) -> None:
        """Do now what uvicorn does when a message begins, and go on as uvicorn."""
        url, headers, expect = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.headers, self.expect_100_continue = url, headers, expect
        self.scope["headers"] = headers
        super().on_headers_complete()
        if self.site.draining:
            self.cycle.keep_alive = False

    # -- writing ----------------------------------------------------------------------------------------------------

    def write_reply(self, answer: Reply, keep_alive: bool) -> None:
        """Write a whole answer and make ready for the next request."""
        transport, site = self.transport, self.site
        if transport.is_closing():
            return
        head = b"%bdate: %b\r\ncontent-type: %b\r\ncontent-length: %d\r\n" % (
            _STATUS[answer.status],
            site.date,
            answer.content_type,
            len(answer.body),
        )
        for header in answer.extra:
            head += b"%b: %b\r\n" % header
        if not keep_alive or site.draining:
            keep_alive = False
            head += b"connection: close\r\n"
        transport.write(b"%b\r\n%b" % (head, answer.body))
        if not keep_alive:
            transport.close()
        self.on_response_complete()

    def refuse(self, status: int, sentence: str) -> None:
        """Answer what never became a request, and close."""
        error = Reply(status, b'{"error":"%s"}' % sentence.replace('"', "'").encode())
        self.write_reply(error, keep_alive=False)

    def on_response_complete(self) -> None:
        """As uvicorn's, but idle connections are closed by the sweep instead of a timer for each."""
        self._since = self.site.now
        if self.transport.is_closing():
            return
        if not self.flow.write_paused:
            self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.flow.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.flow.resume_reading()

    # -- the end ----------------------------------------------------------------------------------------------------

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._lost()

    def drain(self) -> None:
        """The replica is going away: the answer under way is this connection's last."""
        if not self.idle and self.cycle is not None:
            self.cycle.keep_alive = False

    def sweep(self, now: float) -> None:
        """Called every second: close what has been idle or slow for too long."""
        quiet = now - self._since
        if self._receiving:
            if quiet > self.site.receive_timeout_s:
                self.refuse(408, f"the request did not arrive within {self.site.receive_timeout_s:g} s")
        elif self.idle and quiet > self.site.keep_alive_s:
            self.transport.close()

    @property
    def idle(self) -> bool:
        """No request is being received or answered."""
        return not self._receiving and (self.cycle is None or self.cycle.response_complete)
