"""The socket of one gRPC connection: bytes to `http2.connection`, the outbox's pieces to the transport.

    data_received -> Connection.receive ... what is answered at once is written at once
    an answer of a later turn of the loop -> if it is the only one awaited: written at once
                                          -> else Site.dirty -> one write per connection and turn

Invariants: 1. A peer that does not read what it is sent is not read from, and one that says much at once is read a part
in each turn. 2. A connection that is over is closed once its last words are written; one that leaves, once its calls
are answered. 3. Whoever is idle, slow, silent or too old is looked for in `sweep`, once a second: one timer is cheaper
than thousands.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import Any, Final

from server.rpc.calls import Streaming, Unary
from server.rpc.clients import Peer
from server.rpc.http2 import frames
from server.rpc.http2.connection import Connection
from server.rpc.http2.errors import Code
from server.rpc.opening import read_opening
from server.rpc.status import Code as Status
from server.rpc.status import RpcError

PING_AFTER_S: Final = 60.0
PONG_WITHIN_S: Final = 20.0
"""A peer that vanished without a word is noticed after about a minute and a half."""
LINGER_S: Final = 1.0
"""How long a connection that leaves still takes calls that were on their way."""
_PING: Final = frames.frame(frames.PING, 0, 0, b"headrace")


def _jitter() -> float:
    return random.uniform(0.9, 1.1)


def _soon(call: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon(call)


@dataclass(slots=True)
class Site:
    """What all connections of a replica share. `max_age_s` None: they may grow as old as they like."""

    methods: Mapping[bytes, Unary | Streaming]
    max_message_bytes: int
    keep_alive_s: float
    receive_timeout_s: float
    max_age_s: float | None = None
    lost: Callable[[], None] = lambda: None
    """Called for each connection that is over."""
    jitter: Callable[[], float] = _jitter
    """By what the age of a connection is multiplied: those that come together need not leave together."""
    soon: Callable[[Callable[[], None]], Any] = _soon
    """Calls something in the loop's next turn."""
    draining: bool = False
    gone: bool = False
    """Nobody can have a call on its way any more that does not know."""
    wires: set[Wire] = field(default_factory=set)
    emptied: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the last of `wires` has gone."""
    dirty: list[Wire] = field(default_factory=list)

    def flush(self) -> None:
        """Write what this turn of the loop has left in the outboxes."""
        dirty, self.dirty = self.dirty, []
        for wire in dirty:
            wire.flush()


class RpcConnection(Connection):
    """A connection whose calls know whom they are from."""

    __slots__ = ("peer",)

    def __init__(self, site: Site, wire: Wire) -> None:
        limit = site.max_message_bytes
        super().__init__(partial(read_opening, methods=site.methods, limit=limit), wire.wake, limit)
        self.peer = Peer()


class Wire(asyncio.Protocol):
    """One gRPC connection's socket."""

    __slots__ = (
        "_age_s", "_born", "_dirty", "_final", "_full", "_heard", "_left", "_moved", "_reading", "_site", "_stuck",
        "_unread", "_used", "connection", "transport",
    )  # fmt: skip

    def __init__(self, site: Site) -> None:
        self._site = site
        self.connection = RpcConnection(site, self)
        self.transport: Any = None
        self._reading = self._dirty = self._final = self._full = False
        self._left: float | None = None
        self._born: float | None = None
        self._age_s = inf if site.max_age_s is None else site.max_age_s * site.jitter()
        self._unread = 0
        """Bytes that had not left at the last sweep."""
        self._heard = self._used = self._moved = self._stuck = 0.0
        """When, as far as sweeps see: the peer said something; it had a call; it read; it left nothing half said."""

    # -- asyncio's side ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self.transport = transport
        self._site.wires.add(self)
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() != "h2":
            self.transport.abort()
            return
        self.connection.greet()
        self.flush()
        if self._site.draining:
            self.leave(at_once=self._site.gone)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._reading = True
        self.connection.receive(data)
        self._reading = False
        if self.connection.outbox.pieces:
            self.flush()
        if self.connection.reader.behind and not self.transport.is_closing():
            self.transport.pause_reading()
            self._site.soon(self._read_on)

    def _read_on(self) -> None:
        """There was more than is for one turn of the loop."""
        if not self.transport.is_closing():
            self.data_received(b"")
            self._may_read()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self.connection.lost()
        self._site.lost()
        self._site.wires.discard(self)
        if not self._site.wires:
            self._site.emptied.set()

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._full = True
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._full = False
        self._may_read()

    def _may_read(self) -> None:
        if not (self._full or self.connection.reader.behind or self.transport.is_closing()):
            self.transport.resume_reading()

    # -- writing ----------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """The outbox has something new."""
        if self._reading or self._dirty:
            return
        if len(self.connection.streams) <= 1:
            self.flush()  # there is nothing that it could leave together with
            return
        self._dirty = True
        dirty = self._site.dirty
        if not dirty:
            self._site.soon(self._site.flush)
        dirty.append(self)

    def flush(self) -> None:
        """Write what is in the outbox."""
        connection, transport = self.connection, self.transport
        pieces = connection.outbox.pieces
        self._dirty = False
        if transport.is_closing():
            pieces.clear()
            return
        if pieces:
            data = b"".join(pieces)
            pieces.clear()
            transport.write(data)
        if connection.over or (self._final and not connection.streams):
            transport.close()

    # -- the end ----------------------------------------------------------------------------------------------------

    def leave(self, *, at_once: bool) -> None:
        """Tell the peer to take its calls elsewhere: those that are on their way come too, unless `at_once`."""
        if not self._final:
            self._final = at_once
            self.connection.retire(at_once=at_once)
            self.flush()

    def abandon(self, error: Exception) -> None:
        """End every call with `error`, and the connection."""
        for stream in list(self.connection.streams.values()):
            stream.broken(error)
        self.leave(at_once=True)
        self.flush()
        self.transport.close()

    def sweep(self, now: float) -> None:
        """A second has passed."""
        connection, site = self.connection, self._site
        if self._born is None:
            self._born = self._heard = self._used = self._moved = self._stuck = now
        self._look(now)
        connection.second()
        if now - self._moved > site.keep_alive_s or now - self._heard > PING_AFTER_S + PONG_WITHIN_S:
            self.transport.abort()
        elif now - self._stuck > site.receive_timeout_s:
            connection.end(Code.ENHANCE_YOUR_CALM, f"a frame did not arrive within {site.receive_timeout_s:g} s")
        elif self._left is not None:
            if now - self._left >= LINGER_S and not self._final:
                self.leave(at_once=True)
        elif now - self._used > site.keep_alive_s or now - self._born > self._age_s:
            self._left = now
            self.leave(at_once=False)
        elif now - self._heard > PING_AFTER_S:
            connection.outbox.control(_PING)
        self._late(now)
        self.flush()

    def _look(self, now: float) -> None:
        """See what has happened since the last sweep."""
        connection = self.connection
        outbox = connection.outbox
        if connection.heard:
            self._heard = now
        if connection.latest > connection.young or connection.streams:
            self._used = now
        unread = self.transport.get_write_buffer_size()
        if outbox.moved or not (outbox.blocked or unread) or unread != self._unread:
            self._moved = now
        self._unread = unread
        if not connection.reader.midway:
            self._stuck = now
        connection.heard = outbox.moved = False

    def _late(self, now: float) -> None:
        timeout_s = self._site.receive_timeout_s
        for stream in list(self.connection.streams.values()):
            if stream.receiving(now) > timeout_s:
                said = f"the message did not arrive within {timeout_s:g} s"
                stream.broken(RpcError(Status.DEADLINE_EXCEEDED, said))
