"""The HTTP connection: a short cut for plain infer requests, uvicorn and ASGI for everything else.

    bytes -> httptools -> [plain infer?] - yes -> Turn: decode -> DataPlane.submit ... answer -> encode -> bytes
                                         - no --> uvicorn's RequestResponseCycle -> FastAPI

Subclass of uvicorn's protocol class, whose parser, pipelining and ASGI cycle it keeps. What is unusual (chunked,
Expect, Upgrade, compressed, HTTP/1.0, Connection: close, pipelined behind an unanswered request, escaped or unknown
URL) falls through; answers are the same both ways. A head that was found plain is remembered, and the next one with
the same bytes does not go through the parser at all. Invariants: 1. At most one Turn is unanswered per connection, so
answers keep their order, refusals of what is no request included. 2. A client that goes away (end of stream included)
cancels its Turn. 3. A client that does not read its answers is not read from.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from headrace.errors import ServingError
from server.rest.answers import Reply
from server.rest.flow import Flow
from server.rest.head import read_head
from server.rest.site import Site
from server.rest.turn import Turn

MAX_HEAD_BYTES = 64 << 10
MAX_URL_BYTES = 8 << 10
_NOT_FOUND = -1 + 4


class _Refused(Exception):
    """Raised inside a parser callback to end the connection: (status, sentence)."""


class ShortCut(HttpToolsProtocol):
    """One HTTP connection of a replica. `lost` is called once, when it is gone."""

    cycle: Any

    def __init__(self, site: Site, lost: Callable[[], None]) -> None:
        super().__init__(site.uvicorn, site.state, {})
        self.site = site
        self._lost = lost
        self._turn: Turn | None = None
        self._answering: Any = None
        """The cycle whose turn it is; `cycle` is the latest, which may wait behind it."""
        self._chunks: list[bytes] = []
        self._raw_head = b""
        """The bytes up to the first empty line, while they may be those of the request being parsed."""
        self._in_head = False
        self._head_bytes = 0
        self._receiving = False
        self._body_begun = False
        self._last_word: Reply | None = None
        """A refusal that ends the connection, once the requests before it are answered."""
        self._since = site.now
        self._unread = 0
        """Bytes of answers that had not left at the last sweep."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = Flow(transport, self.pipeline)

    # -- reading ----------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._last_word is not None:
            return
        end = data.find(b"\r\n\r\n") + 4
        cycle = self.cycle
        if not self._receiving and (cycle is None or cycle.response_complete):
            known = self.site.heads.get(data[:end])
            if known is not None and known.length == len(data):
                self._since = self.site.now
                self.cycle = self._answering = turn = Turn(
                    self.site, self.write_reply, known.target, known.head, id(self)
                )
                turn.begin(data[end:])
                return
            self._raw_head = data[:end] if end > _NOT_FOUND else b""
        was_in_head = self._in_head
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on_without_upgrade(data[upgrade.args[0] :])
            return
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
        self._body_begun = False
        self._head_bytes = 0
        self._since = self.site.now

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > MAX_URL_BYTES:
            raise _Refused(414, f"the URL is longer than {MAX_URL_BYTES} bytes")

    def on_headers_complete(self) -> None:
        if sum(len(name) + len(value) for name, value in self.headers) > MAX_HEAD_BYTES:
            raise _Refused(431, f"the request's head is longer than {MAX_HEAD_BYTES} bytes")
        if self.parser.get_method() == b"CONNECT":
            raise _Refused(405, "this is no proxy: CONNECT is not spoken here")
        if self.parser.should_upgrade():
            return
        self._in_head = False
        raw, self._raw_head = self._raw_head, b""  # never to be taken for that of a later request
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
        self.cycle = self._answering = self._turn = Turn(self.site, self.write_reply, target, head, id(self))
        self._chunks = []
        if raw.startswith(b"POST %b " % self.url):  # else it came in pieces, or blank lines came first
            self.site.learn(raw, target, head)

    def on_body(self, body: bytes) -> None:
        turn = self._turn
        if turn is None:
            self._body_begun = True
            super().on_body(body)  # which drops what is left of a request that is answered
        elif self._chunks or not turn.refused_by(body):
            self._chunks.append(body)
        else:
            self._turn = None

    def on_message_complete(self) -> None:
        if self._in_head:  # it asks for an upgrade, and the parser takes its body for another protocol
            return
        self._receiving = False
        turn = self._turn
        if turn is None:
            super().on_message_complete()
            if self.site.draining and self.cycle.response_complete:
                self.transport.close()  # answered before its body had come, and perhaps before it could be told
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
        try:
            super().on_headers_complete()
        except httptools.HttpParserInvalidURLError:
            self._in_head = True
            raise _Refused(400, f"this is not a URL: {self.url[:100].decode('latin-1')!r}") from None
        if self.site.draining:
            self.cycle.keep_alive = False

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        """None is spoken here: take the request as if it had not asked. Java's client asks in every first one."""
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        for name, value in self.headers:
            if name == b"connection":
                lines.append(b"connection: " + (b"close" if b"close" in value.lower() else b"keep-alive"))
            elif name != b"upgrade":
                lines.append(b"%b: %b" % (name, value))
        self.parser = httptools.HttpRequestParser(self)  # the old one takes nothing more if the request said close
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.data_received(b"\r\n".join((*lines, b"", rest)))

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    # -- writing ----------------------------------------------------------------------------------------------------

    def write_reply(self, answer: Reply, keep_alive: bool) -> None:
        """Write a whole answer and make ready for the next request."""
        transport, site = self.transport, self.site
        if transport.is_closing():
            return
        opening = site.openings.get((answer.status, answer.content_type)) or site.opening(answer)
        head = b"%b%d\r\n" % (opening, len(answer.body))
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
        """Answer what never became a request, after those before it, and close."""
        error = Reply(status, orjson.dumps({"error": sentence}))
        if self._earlier_unanswered:
            self._last_word = error
            if self.pipeline and not self._in_head and self._receiving:
                self.pipeline.popleft()  # its own cycle, which will never have its body
        elif self._receiving and not self._in_head and self.cycle.response_complete:
            self.transport.close()  # refused already, and the rest of its body is not awaited
        else:
            self.write_reply(error, keep_alive=False)

    @property
    def _earlier_unanswered(self) -> bool:
        """Whether a request before the one that is being received has no answer yet."""
        if self._receiving and not self._in_head:
            return bool(self.pipeline)
        return self.cycle is not None and not self.cycle.response_complete

    def on_response_complete(self) -> None:
        """As uvicorn's, but idle connections are closed by the sweep instead of a timer for each."""
        self._since = self.site.now
        if not (self.pipeline or self._last_word or self._receiving or self.flow.read_paused):
            return  # as nearly always
        if self.transport.is_closing():
            return
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        elif self._last_word is not None:
            self.write_reply(self._last_word, keep_alive=False)
        elif self._receiving and self.expect_100_continue and not self._body_begun and self.cycle.response_complete:
            self.transport.close()  # refused instead of asked to send: what comes next may be the body or not
            return
        self.flow.resume_reading()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.flow.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.flow.resume_reading()

    # -- the end ----------------------------------------------------------------------------------------------------

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()
        self._lost()

    def drain(self) -> None:
        """The replica is going away: the answer under way is this connection's last."""
        if not self.idle and self.cycle is not None:
            self.cycle.keep_alive = False

    def sweep(self, now: float) -> None:
        """Called every second: close what has been idle or slow for too long."""
        unread = self.transport.get_write_buffer_size()
        if unread != self._unread:  # the client reads, be it slowly
            self._unread, self._since = unread, now
        quiet = now - self._since
        if unread and quiet > self.site.keep_alive_s:
            self.transport.abort()
        elif self._receiving:
            late = quiet > self.site.receive_timeout_s
            if late and not self._earlier_unanswered and not self.flow.read_paused:
                self.refuse(408, f"the request did not arrive within {self.site.receive_timeout_s:g} s")
        elif self.idle and quiet > self.site.keep_alive_s:
            self.transport.close()

    @property
    def idle(self) -> bool:
        """No request is being received or answered."""
        return not self._receiving and (self.cycle is None or self.cycle.response_complete)
