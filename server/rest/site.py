"""What all HTTP connections of a replica share: where requests go, the limits, and the second hand of a clock."""

from __future__ import annotations

import http
import re
from email.utils import formatdate
from typing import Any, NamedTuple

import uvicorn
from uvicorn.server import ServerState

from headrace.errors import Overloaded
from server.dataplane import DataPlane
from server.memory import Memory
from server.rest.answers import Reply, refusal
from server.rest.head import Head

_INFER = re.compile(rb"/v2/models/([A-Za-z0-9_.\-]+)(?:/versions/([0-9]{1,18}|[A-Za-z_][A-Za-z0-9_.\-]{0,63}))?/infer")
_LARGEST_KNOWN_HEAD = 2 << 10
_PHRASES = {status.value: status.phrase for status in http.HTTPStatus}


class Target(NamedTuple):
    """Where an infer URL points."""

    model: str
    version: str


class KnownHead(NamedTuple):
    """A request head, byte for byte, that the parser has found to be a plain infer request's."""

    target: Target
    head: Head
    length: int
    """Bytes of the whole request: head and body."""


class Site:
    """Made once per replica. `tick` is called every second by the replica's sweeper."""

    def __init__(
        self,
        plane: DataPlane,
        app: Any,
        *,
        max_body_bytes: int,
        receive_timeout_s: float,
        keep_alive_s: float,
        refuse_status: int = 503,
    ) -> None:
        self.plane = plane
        self.max_body_bytes = max_body_bytes
        self.refuse_status = refuse_status
        self.receive_timeout_s = receive_timeout_s
        self.keep_alive_s = keep_alive_s
        self.uvicorn = uvicorn.Config(
            app,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=int(keep_alive_s),
        )
        self.uvicorn.load()
        self.state = ServerState()
        self.draining = False
        self.now = 0.0
        self.date = b""
        self.openings: dict[tuple[int, bytes], bytes] = {}
        """(status, content type) -> the head of an answer up to its length; made anew each second, with the date."""
        self.heads: Memory[bytes, KnownHead] = Memory()
        """Clients send the same head again and again: seen once by the parser, it is looked up from then on."""
        self._targets: Memory[bytes, Target] = Memory()
        self._refused: Overloaded | None = None
        self._refusal = Reply(refuse_status, b"")

    def refusal(self, error: Overloaded) -> Reply:
        """The answer for `error`, which in overload is the same one for many requests."""
        if error is not self._refused:
            self._refused, self._refusal = error, refusal(error, self.refuse_status)
        return self._refusal

    def target(self, url: bytes) -> Target | None:
        """The model of a plain infer URL; None for every other one (escaped, with a query, not infer)."""
        known = self._targets.get(url)
        if known is not None:
            return known
        match = _INFER.fullmatch(url)
        if match is None:
            return None
        model, version = match.groups(b"")
        target = Target(model.decode(), version.decode())
        self._targets.keep(url, target)
        return target

    def learn(self, raw: bytes, target: Target, head: Head) -> None:
        """Remember a head that the parser found plain. `raw` ends with the empty line."""
        if len(raw) <= _LARGEST_KNOWN_HEAD and head.content_length:
            self.heads.keep(raw, KnownHead(target, head, len(raw) + head.content_length))

    def opening(self, answer: Reply) -> bytes:
        """The head of `answer` up to its length."""
        status = answer.status
        phrase = _PHRASES.get(status, "Client Closed Request")
        opening = b"HTTP/1.1 %d %b\r\ndate: %b\r\ncontent-type: %b\r\ncontent-length: " % (
            status,
            phrase.encode(),
            self.date,
            answer.content_type,
        )
        self.openings[status, answer.content_type] = opening
        return opening

    def tick(self, now: float) -> None:
        """Move the second hand: `now` on the loop's clock, and the Date header."""
        self.now = now
        self.date = formatdate(usegmt=True).encode()
        self.openings.clear()
        self.state.default_headers = [(b"date", self.date)]
