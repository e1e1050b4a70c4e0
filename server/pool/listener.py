"""Accepts connections to one port in one replica so that all replicas end up with about as many.

Receives connections from the listening socket that all replicas share and hands each to a protocol of the application.
With plain `loop.create_server(sock=...)` in two processes, 32 connections split 31 : 1: whoever wakes first takes all
there are. So here: 1. One accept per wake-up. 2. A replica that has more connections than the emptiest READY one leaves
the connection to it, for `PATIENCE` ticks of 1 ms at most; each time that this was in vain it waits less, until the
others move again, so a stuck sibling costs a few milliseconds in all. 3. When it closes, everything in the accept queue
is taken first. Every replica is woken by every connection; that is the price, paid per connection, not per request.
A socket for each replica (SO_REUSEPORT) would cost less and divide by dice: of four gRPC clients, which have one
connection each for days, all may meet the same replica, and those that wait for one that dies are lost with it.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable

from server.pool.crowd import Crowd

PATIENCE = (4, 2, 1, 0)
"""Ticks that a fuller replica waits for the emptier ones, by how many waits in a row were in vain."""
TICK_S = 0.001
PAUSE_S = 0.1
"""No descriptor or memory for another connection: accepting rests this long."""
WARN_EVERY_S = 60.0
HANDSHAKES_S = 1.0
"""How long those who are just agreeing on TLS are waited for when it closes."""
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_log = logging.getLogger("headrace.pool")


def ticks_to_wait(mine: int, fewest_elsewhere: int | None, in_vain: int) -> int:
    """How long to leave a connection to the others: 0 takes it now."""
    if fewest_elsewhere is None or mine <= fewest_elsewhere:
        return 0
    return PATIENCE[min(in_vain, len(PATIENCE) - 1)]


class Listener:
    """One accept loop. The socket is non-blocking and listens already; each `connection` says that it is closed."""

    def __init__(
        self,
        listening: socket.socket,
        connection: Callable[[], asyncio.Protocol],
        crowd: Crowd,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._socket = listening
        self._connection = connection
        self._crowd = crowd
        self._tls = tls
        self._opening: set[asyncio.Task[None]] = set()
        self._in_vain = 0
        self._seen_elsewhere = 0
        self._ticks_left = 0
        self._exhausted = False
        self._warn_from = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def run(self, closing: asyncio.Event) -> None:
        """Accept until `closing` is set. Then the socket is closed and every accepted connection has its protocol."""
        self._loop = asyncio.get_running_loop()
        self._resume()
        try:
            await closing.wait()
            while self._accept():
                pass
        finally:
            self._loop.remove_reader(self._socket)
            if self._timer:
                self._timer.cancel()
            self._socket.close()
        if self._opening:
            _, late = await asyncio.wait(self._opening, timeout=HANDSHAKES_S)
            for opening in late:
                opening.cancel()

    def _readable(self) -> None:
        elsewhere = self._crowd.accepted_elsewhere()
        if elsewhere != self._seen_elsewhere:
            self._in_vain = 0
        self._seen_elsewhere = elsewhere
        self._ticks_left = self._ticks()
        if self._ticks_left:
            self._rest(TICK_S, self._look_again)
        else:
            self._accept()

    def _look_again(self) -> None:
        """A tick after a connection was left to the others."""
        self._ticks_left -= 1
        if self._crowd.accepted_elsewhere() != self._seen_elsewhere:
            self._resume()  # they took it
        elif self._ticks_left and self._ticks():
            self._rest(TICK_S, self._look_again)
        else:
            self._in_vain += 1
            self._accept()
            self._resume()

    def _ticks(self) -> int:
        return ticks_to_wait(self._crowd.mine, self._crowd.fewest_elsewhere(), self._in_vain)

    def _rest(self, seconds: float, then: Callable[[], None]) -> None:
        self._loop.remove_reader(self._socket)
        self._timer = self._loop.call_later(seconds, then)

    def _resume(self) -> None:
        if not self._exhausted:
            self._loop.add_reader(self._socket, self._readable)

    def _recover(self) -> None:
        self._exhausted = False
        self._resume()

    def _accept(self) -> bool:
        """Take one connection. False: there is none, or no means to take it (then accepting rests)."""
        try:
            accepted, _ = self._socket.accept()
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            if error.errno in _EXHAUSTED:
                self._exhaust(error)
            return error.errno not in _EXHAUSTED  # the others are about one connection that broke before it was taken
        accepted.setblocking(False)
        self._crowd.opened()
        opening = self._loop.create_task(self._open(accepted), name="open a connection")
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)
        return True

    async def _open(self, accepted: socket.socket) -> None:
        opened = False
        try:
            await self._loop.connect_accepted_socket(self._connection, accepted, ssl=self._tls)
            opened = True
        except OSError as error:  # most likely there is no agreement on TLS
            _log.debug("a connection was not opened: %s", error)
        except Exception:  # one connection's trouble must not end the others'
            _log.exception("a connection could not be opened")
        finally:
            if not opened:
                accepted.close()
                self._crowd.closed()

    def _exhaust(self, error: OSError) -> None:
        now = self._loop.time()
        if now >= self._warn_from:
            self._warn_from = now + WARN_EVERY_S
            _log.warning("replica %d cannot accept connections for now: %s", self._crowd.index, error.strerror)
        self._exhausted = True
        self._rest(PAUSE_S, self._recover)
