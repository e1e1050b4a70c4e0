"""How a pool ends: not ready first, then drain once, kill what does not end, and say with which code it ended.

Called from the supervisor's loop, which hands back `LagOver`, `StragglersDue` and `GraceOver` when their time has come.
Shutdown mirrors start-up: listening sockets, standby, replicas. Invariant: while replicas drain nobody else holds a
copy of a listening socket, since a connection that it kept open would be lost; so standby and replacements that do not
listen yet go first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence

from server.pool.board import Board, State
from server.pool.child import Child
from server.pool.events import Event, GraceOver, LagOver, StragglersDue
from server.pool.exit_codes import ExitCode
from server.pool.place import Place
from server.pool.sockets import Ports

KILL_AFTER_S = 1.0
"""A replica ends by itself when its grace has passed; one that is stuck is killed this much later."""
AGAIN_S = 0.5
"""A signal so soon after the first is the same one: timeout(1), for example, signals the process, then its group."""
STRAGGLE_S = 1.0
"""When a drain begins, a replacement that is still starting may take this long to end by itself."""

_log = logging.getLogger("headrace.pool")


class Ending:
    """`children` are all processes of the pool that run, kept up to date by its owner, of which `standby` has no place.

    `code` is what the pool ends with, as far as is known.
    """

    def __init__(
        self,
        lag_s: float,
        grace_s: float,
        listening: Ports,
        board: Board,
        places: Sequence[Place],
        children: set[Child],
        put: Callable[[Event], None],
    ) -> None:
        self._lag_s = lag_s
        self._grace_s = grace_s
        self._listening = listening
        self._board = board
        self._places = places
        self._children = children
        self._put = put
        self._again_from = 0.0
        self._bystanders: set[Child] = set()
        self.begun = False
        self.killing = False
        self.code = ExitCode.DRAINED

    def signalled(self, name: str, standby: Child | None) -> None:
        """SIGTERM or SIGINT: the first drains, after the lag; the next one ends at once."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if not self._board.pool_leaving():
            self._again_from = now + AGAIN_S
            if self._lag_s and self._board.pool_ready():
                self._board.leave()
                _log.info("%s: not ready any more; accepting for another %g s", name, self._lag_s)
                loop.call_later(self._lag_s, self._put, LagOver())
            else:
                _log.info("%s: draining, at most %g s", name, self._grace_s)
                self._drain(standby)
        elif now >= self._again_from:
            _log.warning("%s while draining: stopping at once", name)
            self.code = ExitCode.STOPPED_AT_ONCE
            self._drain(standby)
            self.kill_all()

    def due(self, event: LagOver | StragglersDue | GraceOver, standby: Child | None) -> None:
        """The time of one of its own events has come."""
        match event:
            case LagOver() if not self.begun:
                _log.info("draining, at most %g s", self._grace_s)
                self._drain(standby)
            case StragglersDue():
                _kill(self._bystanders)
            case GraceOver() if self._children:
                self.fail(f"unanswered after {self._grace_s:g} s")
                self.kill_all()

    def give_up(self, code: ExitCode, sentence: str, standby: Child | None) -> None:
        """The pool cannot go on."""
        _log.error("%s; stopping", sentence)
        self.code = code
        promised = not self._board.pool_starting()
        self._drain(standby)
        if not promised:
            self.kill_all()

    def out_of_the_way(self, child: Child) -> None:
        """It has ended, or drains by itself."""
        if child in self._bystanders:
            self._bystanders.discard(child)
            self._drain_replicas()

    def fail(self, sentence: str) -> None:
        """Something that was accepted may not be answered."""
        _log.error("requests may be lost: %s", sentence)
        if self.code is ExitCode.DRAINED:
            self.code = ExitCode.DRAIN_FAILED

    def kill_all(self) -> None:
        """At once."""
        self.killing = True
        _kill(self._children)

    def _drain(self, standby: Child | None) -> None:
        """No replica is started from here on. Those that accept are told once the others have ended."""
        self.begun = True
        self._board.leave()
        self._listening.close()
        starting = {place.child for place in self._places if place.child and self._does_not_listen_yet(place)}
        for child in starting:
            child.drain()
        idle = {standby} if standby else set()
        _kill(idle)
        self._bystanders = starting | idle
        loop = asyncio.get_running_loop()
        loop.call_later(STRAGGLE_S, self._put, StragglersDue())
        loop.call_later(self._grace_s + KILL_AFTER_S, self._put, GraceOver())
        self._drain_replicas()

    def _does_not_listen_yet(self, place: Place) -> bool:
        """A replacement listens late. It may just have begun to: then it answers the order with Draining."""
        return bool(place.history) and self._board.state(place.index) is State.STARTING

    def _drain_replicas(self) -> None:
        if not self._bystanders:
            for place in self._places:
                if place.child:
                    place.child.drain()  # said twice to one that just began to listen: harmless


def _kill(children: Iterable[Child]) -> None:
    for child in children:
        child.kill()
