"""The ASGI application of a replica: health at once, everything else as soon as FastAPI is there.

FastAPI takes a quarter of what a replica imports, and nobody who infers needs it. So `make`, which imports it, runs in
a thread once the replica serves (`open`), or when the first request for it comes; that request waits. What load
balancers ask to know whether they may send anything does not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from starlette.types import ASGIApp, Receive, Scope, Send

Ready = Callable[[], bool]
LIVE, READY, PING = "/v2/health/live", "/v2/health/ready", "/ping"
_JSON = [(b"content-type", b"application/json")]


class AtOnce(NamedTuple):
    """An answer that needs no application."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def at_once(path: str, ready: Ready) -> AtOnce | None:
    """What to say to GET `path`; None for all but health."""
    if path == LIVE:
        return AtOnce(200, _JSON, b'{"live":true}')
    if path == READY:
        return AtOnce(200, _JSON, b'{"ready":true}') if ready() else AtOnce(503, _JSON, b'{"ready":false}')
    return AtOnce(200 if ready() else 503, [], b"") if path == PING else None


class Door:
    """`make` is called once, in a thread. `ready` says whether the pool is. For one event loop."""

    def __init__(self, make: Callable[[], ASGIApp], ready: Ready) -> None:
        self._make = make
        self._ready = ready
        self._made: asyncio.Future[ASGIApp] | None = None

    async def open(self) -> ASGIApp:
        """The application behind it, made if it was not. Raises what `make` raises, and tries again the next time."""
        if self._made is None or (self._made.done() and self._made.exception()):
            self._made = asyncio.ensure_future(asyncio.to_thread(self._make))
        return await asyncio.shield(self._made)  # one client that goes away must not cancel it for all

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, as ASGI has it."""
        answer = at_once(scope["path"], self._ready) if scope["method"] == "GET" else None
        if answer is None:
            await (await self.open())(scope, receive, send)
            return
        headers = [*answer.headers, (b"content-length", b"%d" % len(answer.body))]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})
