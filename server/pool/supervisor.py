"""The parent of the pool: starts N replicas, replaces the dead, drains all when told to.

Receives signals and what its children say or how they end as events in one queue; one loop takes them out and acts.
Hands a finished pool's `ExitCode` to the command line. It sees no request and holds no model.
Invariants: 1. Only the loop changes state; signal handlers and followers queue. 2. A pool that has been ready stays so
while a dead replica is replaced (board.py: the latch). 3. One standby process, everything imported, waits to take a
dead one's place: imports cost about 1 s of CPU, twice that on busy cores. It starts when all replicas are ready and so
delays none. 4. Shutdown mirrors start-up: listening sockets, standby, replicas; then directory and ports.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from headrace.config import ServerConfig
from headrace.errors import ConfigError
from server.pool.board import Board, State
from server.pool.channel import Boot, Draining, Failed, Message, Ready
from server.pool.child import Child, how_it_ended
from server.pool.cores import usable_cores
from server.pool.directory import board_in, private_directory
from server.pool.exit_codes import ExitCode
from server.pool.restarts import UNREADY_LATER, End, GiveUp, RestartAt, next_restart
from server.pool.sockets import listen_http, port_of, reserve_grpc

KILL_AFTER_S = 1.0
"""A replica ends by itself when its grace has passed; one that is stuck is killed this much later."""
AGAIN_S = 0.5
"""A signal so soon after the first is the same one: timeout(1), for example, signals the process, then its group."""
STANDBY_AGAIN_S = 5.0
"""A standby that ended by itself is replaced after this long."""

_log = logging.getLogger("headrace.pool")


OnReady = Callable[[int, int], None]
"""Called once, with the HTTP and the gRPC port, when every replica serves."""


def run_pool(
    config: ServerConfig, application: str = "server.application:Application", on_ready: OnReady | None = None
) -> ExitCode:
    """Serve until told to stop. `application` is the dotted path of a ReplicaApplication. Call in the main thread.

    Raises ConfigError if an address cannot be taken: nothing has been started then.
    """
    replicas = usable_cores() if config.replicas == "auto" else config.replicas
    if replicas < 1:
        raise ConfigError(f"replicas: expected 'auto' or at least 1, found {replicas}")
    return asyncio.run(Supervisor(config, replicas, application, on_ready).run())


@dataclass(slots=True)
class _Place:
    index: int
    child: Child | None = None
    ready_at: float | None = None
    ended_at: float | None = None
    failure: str = ""
    history: deque[End] = field(default_factory=lambda: deque(maxlen=2 * UNREADY_LATER))


@dataclass(frozen=True, slots=True)
class _Signal:
    name: str


@dataclass(frozen=True, slots=True)
class _Said:
    child: Child
    message: Message


@dataclass(frozen=True, slots=True)
class _Ended:
    child: Child
    code: int


@dataclass(frozen=True, slots=True)
class _RestartDue:
    place: _Place


@dataclass(frozen=True, slots=True)
class _StandbyDue:
    pass


@dataclass(frozen=True, slots=True)
class _GraceOver:
    pass


_Event = _Signal | _Said | _Ended | _RestartDue | _StandbyDue | _GraceOver


class Supervisor:
    """One pool, run once."""

    def __init__(self, config: ServerConfig, replicas: int, application: str, on_ready: OnReady | None = None) -> None:
        self._on_ready = on_ready
        self._config = config
        self._application = application
        self._places = [_Place(index) for index in range(replicas)]
        self._standby: Child | None = None
        self._children: set[Child] = set()
        self._events: asyncio.Queue[_Event] = asyncio.Queue()
        self._stopping = False
        self._killing = False
        self._again_from = 0.0
        self._code = ExitCode.DRAINED

    async def run(self) -> ExitCode:
        """Returns when every child has ended. Raises ConfigError before the first was started."""
        config = self._config
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as stack:
            self._http = stack.enter_context(listen_http(config.host, config.http_port))
            grpc = stack.enter_context(reserve_grpc(config.host, config.grpc_port))
            self._http_port, self._grpc_port = port_of(self._http), port_of(grpc)
            self._directory: Path = stack.enter_context(private_directory())
            self._board = Board.create(board_in(self._directory), len(self._places))
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._events.put_nowait, _Signal(number.name))
                stack.callback(loop.remove_signal_handler, number)
            _log.info(
                "listening on %s: REST port %d, gRPC port %d; starting replicas: %d",
                *(config.host, self._http_port, self._grpc_port, len(self._places)),
            )
            async with asyncio.TaskGroup() as self._followers:
                try:
                    await self._supervise()
                finally:
                    self._kill_all()
        return self._code

    async def _supervise(self) -> None:
        for place in self._places:
            await self._start(place)
        while self._children or not self._stopping:
            await self._act(await self._events.get())

    async def _act(self, event: _Event) -> None:
        match event:
            case _Signal(name):
                self._signalled(name)
            case _Said(child, message):
                await self._heard(child, message)
            case _Ended(child, code):
                self._ended(child, code)
            case _RestartDue(place) if not self._stopping:
                await self._start(place)
            case _StandbyDue() if not self._stopping and self._standby is None:
                self._standby = await self._spawn()
            case _GraceOver() if self._children:
                self._fail_drain(f"unanswered after {self._config.drain_grace_s:g} s")
                self._kill_all()

    # Start and replace

    async def _start(self, place: _Place) -> None:
        child, self._standby = self._standby or await self._spawn(), None
        if child is None:
            self._lost(place, 1, "no process could be started")
            return
        place.child, place.ready_at, place.failure = child, None, ""
        child.boot(
            Boot(
                index=place.index,
                replicas=len(self._places),
                generation=self._board.seat(place.index, child.pid),
                http_port=self._http_port,
                grpc_port=self._grpc_port,
                config=self._config.model_dump_json(),
            )
        )

    async def _spawn(self) -> Child | None:
        try:
            child = await Child.spawn(self._application, self._http, self._directory)
        except OSError as error:
            _log.error("no process could be started: %s", error)
            return None
        self._children.add(child)
        self._followers.create_task(self._follow(child), name=f"follow {child.pid}")
        return child

    async def _follow(self, child: Child) -> None:
        code = await child.follow(lambda message: self._events.put_nowait(_Said(child, message)))
        self._events.put_nowait(_Ended(child, code))

    async def _heard(self, child: Child, message: Message) -> None:
        place = self._place_of(child)
        match message:
            case Failed(reason) if place:
                place.failure = reason
            case Failed(reason):
                _log.error("standby: %s", reason)
            case Ready() if place and self._board.state(place.index) is State.STARTING:
                self._became_ready(place)
            case Draining() if place and self._board.state(place.index) in {State.STARTING, State.READY}:
                self._board.advance(place.index, State.DRAINING)

    def _became_ready(self, place: _Place) -> None:
        now = asyncio.get_running_loop().time()
        self._board.advance(place.index, State.READY)
        place.ready_at = now
        if place.ended_at is not None:
            _log.info("replica %d is back after %.2f s", place.index, now - place.ended_at)
        if all(place.ready_at is not None for place in self._places):
            if not self._board.pool_ready():
                self._board.latch_pool_ready()
                _log.info("ready: all %d replicas serve", len(self._places))
                if self._on_ready is not None:
                    self._on_ready(self._http_port, self._grpc_port)
            self._events.put_nowait(_StandbyDue())

    def _ended(self, child: Child, code: int) -> None:
        self._children.discard(child)
        place = self._place_of(child)
        if place is None:
            self._standby_ended(child, code)
            return
        served = self._board.state(place.index) in {State.READY, State.DRAINING}
        reason = place.failure or how_it_ended(code)
        self._board.advance(place.index, State.DEAD)
        if not self._stopping:
            self._lost(place, code, reason)
        elif served and code != ExitCode.DRAINED and not self._killing:
            self._fail_drain(f"replica {place.index}: {reason}")

    def _lost(self, place: _Place, code: int, reason: str) -> None:
        """A place has lost its replica and nobody asked for it."""
        now = asyncio.get_running_loop().time()
        place.history.append(End(at=now, ready_at=place.ready_at, exit_code=code, reason=reason))
        place.child, place.ready_at, place.ended_at = None, None, now
        match next_restart(place.history, now):
            case RestartAt(at):
                _log.warning("replica %d ended: %s; the next starts in %.2f s", place.index, reason, at - now)
                asyncio.get_running_loop().call_later(at - now, self._events.put_nowait, _RestartDue(place))
            case GiveUp(exit_code, why):
                self._give_up(exit_code, f"replica {place.index} {why}")

    def _standby_ended(self, child: Child, code: int) -> None:
        if child is self._standby:
            self._standby = None
            if not self._stopping:
                _log.warning("standby (process %d) ended: %s", child.pid, how_it_ended(code))
                asyncio.get_running_loop().call_later(STANDBY_AGAIN_S, self._events.put_nowait, _StandbyDue())

    def _place_of(self, child: Child) -> _Place | None:
        return next((place for place in self._places if place.child is child), None)

    # Stop

    def _signalled(self, name: str) -> None:
        now = asyncio.get_running_loop().time()
        if not self._stopping:
            _log.info("%s: draining, at most %g s", name, self._config.drain_grace_s)
            self._again_from = now + AGAIN_S
            self._drain()
        elif now >= self._again_from:
            _log.warning("%s while draining: stopping at once", name)
            self._code = ExitCode.STOPPED_AT_ONCE
            self._kill_all()

    def _give_up(self, code: ExitCode, sentence: str) -> None:
        _log.error("%s; stopping", sentence)
        self._code = code
        self._drain()
        if not self._board.pool_ready():
            self._kill_all()  # nobody was promised an answer

    def _drain(self) -> None:
        """No replica can be started from here on."""
        self._stopping = True
        self._http.close()
        if self._standby:
            self._standby.kill()  # it holds a copy of the listening socket
        for place in self._places:
            if place.child:
                place.child.drain()
        grace_s = self._config.drain_grace_s + KILL_AFTER_S
        asyncio.get_running_loop().call_later(grace_s, self._events.put_nowait, _GraceOver())

    def _fail_drain(self, sentence: str) -> None:
        _log.error("requests may be lost: %s", sentence)
        if self._code is ExitCode.DRAINED:
            self._code = ExitCode.DRAIN_FAILED

    def _kill_all(self) -> None:
        self._killing = True
        for child in self._children:
            child.kill()
