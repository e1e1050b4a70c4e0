"""The parent of the pool: starts N replicas, replaces the dead, drains all when told to.

Receives signals and what its children say or how they end as events in one queue; one loop takes them out and acts.
Hands a finished pool's `ExitCode` to the command line. It sees no request and holds no model.
Invariants: 1. Only the loop changes state; signal handlers and followers queue. 2. A pool that has been ready stays so
while a dead replica is replaced (board.py: the latch). 3. One standby process, everything imported, waits to take a
dead one's place: imports cost about 1 s of CPU, twice that on busy cores. It starts when all replicas are ready and so
delays none. 4. Shutdown (ending.py) mirrors start-up: listening sockets, standby, replicas; then the directory.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from executor.activity import Activity
from headrace.config import ServerConfig
from model_repo.sources import Source
from server.pool import events
from server.pool.board import Board, State
from server.pool.channel import (
    Boot,
    Draining,
    Edit,
    Failed,
    Message,
    Need,
    Objection,
    Plan,
    Ready,
    Settled,
    Vote,
    Wake,
    Woken,
)
from server.pool.child import Child
from server.pool.control import Control, follow
from server.pool.directory import activity_in, board_in, counters_in
from server.pool.edits import Edits
from server.pool.ending import Ending
from server.pool.engines import Engines
from server.pool.exit_codes import ExitCode
from server.pool.ground import Ground
from server.pool.journal import Journal
from server.pool.orphans import Orphans
from server.pool.place import Place
from server.pool.planner import Plans
from server.pool.restarts import GiveUp, RestartAt, next_restart
from server.pool.roster import Roster

STANDBY_AGAIN_S = 5.0
"""A standby that ended by itself is replaced after this long."""

_log = logging.getLogger("headrace.pool")

OnReady = Callable[[int, int], None]
"""Called once, with the HTTP and the gRPC port, when every replica serves."""


class Supervisor:
    """One pool on its ground, run once. `first` are processes that were started before this one knew what to do."""

    def __init__(
        self,
        config: ServerConfig,
        replicas: int,
        ground: Ground,
        first: Sequence[Child],
        on_ready: OnReady | None,
        source: Source,
    ) -> None:
        self._ground = ground
        self._first = list(first)
        self._source = source
        self._on_ready = on_ready
        self._config = config
        self._places = [Place(index) for index in range(replicas)]
        self._standby: Child | None = None
        self._children: set[Child] = set()
        self._events: asyncio.Queue[events.Event] = asyncio.Queue()

    async def run(self) -> ExitCode:
        """Returns when every child has ended."""
        config, directory = self._config, self._ground.directory
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            # Never taken back (the loop does when it closes): a late signal must not disturb the cleaning up.
            loop.add_signal_handler(number, self._events.put_nowait, events.Signalled(number.name))
        Orphans()
        self._board = Board.create(board_in(directory), len(self._places))
        Activity.create(activity_in(directory), len(self._places))
        self._journal = Journal(directory)
        put = self._events.put_nowait
        self._control = Control(
            directory,
            self._board,
            self._places,
            self._journal,
            put,
            config.straggler_timeout_s,
            Roster.of(config, partial(_last_uses_ms, counters_in(directory))),
        )
        waits = config.drain_lag_s, config.drain_grace_s
        self._ending = Ending(*waits, self._ground.ports, self._board, self._places, self._children, put)
        self._plans = Plans()
        self._edits = Edits(self._source, self._control, self._places, self._journal, put)
        _log.info(
            "listening on %s: REST port %d, gRPC port %d; starting replicas: %d",
            *(config.host, self._ground.http_port, self._ground.grpc_port, len(self._places)),
        )
        async with asyncio.TaskGroup() as self._followers:
            self._engines = Engines(
                directory,
                len(self._places),
                config.model_dump_json(),
                self._plans,
                self._journal,
                self._followers.create_task,
                self._tell_all,
            )
            source = self._followers.create_task(follow(self._source, put), name="source")
            try:
                await self._supervise()
            finally:
                source.cancel()
                self._ending.kill_all()
                self._engines.end()
        return self._ending.code

    async def _supervise(self) -> None:
        for place in self._places:
            await self._start(place)
        while self._children or not self._ending.begun:
            await self._act(await self._events.get())
            self._edits.proceed()  # whatever happened may have woken the model of a load

    async def _act(self, event: events.Event) -> None:
        match event:
            case events.Signalled(name):
                self._ending.signalled(name, self._standby)
            case events.Found(scan):
                self._control.want(scan)
            case events.Made(child, edit, scan):
                self._control.want(scan)
                self._edits.made(child, edit)
            case events.LoadOverdue(load):
                self._control.overdue(load)
            case events.KeptNoLonger():
                self._control.want_again()
            case events.NothingFound(reason):
                self._ending.give_up(ExitCode.BOOT_FAILED, f"cannot boot: {reason}", self._standby)
            case events.Said(child, message):
                await self._heard(child, message)
            case events.Ended(child, code):
                self._ended(child, code)
            case events.RestartDue(place) if not self._ending.begun:
                await self._start(place)
            case events.StandbyDue() if not self._ending.begun and self._standby is None:
                self._standby = await self._spawn()
            case events.LagOver() | events.StragglersDue() | events.GraceOver():
                self._ending.due(event, self._standby)

    # Start and replace

    async def _start(self, place: Place) -> None:
        child, self._standby = self._standby or await self._spawn(), None
        if child is None:
            self._lost(place, 1, "no process could be started")
            return
        place.take(child)
        child.boot(
            Boot(
                index=place.index,
                replicas=len(self._places),
                generation=self._board.seat(place.index, child.pid),
                config=self._config.model_dump_json(),
            )
        )
        self._control.greet(child)

    async def _spawn(self) -> Child | None:
        try:
            child = self._first.pop(0) if self._first else await self._ground.spawn()
        except OSError as error:
            _log.error("no process could be started: %s", error)
            return None
        self._children.add(child)
        self._followers.create_task(self._follow(child), name=f"follow {child.pid}")
        return child

    async def _follow(self, child: Child) -> None:
        code = await child.follow(lambda message: self._events.put_nowait(events.Said(child, message)))
        self._events.put_nowait(events.Ended(child, code))

    async def _heard(self, child: Child, message: Message) -> None:
        place = self._place_of(child)
        match message:
            case Vote() if place:
                self._control.vote(place, message)
            case Objection() if place:
                self._control.object_to(message)
            case Settled(number) if place:
                self._edits.settled(place, number)
            case Wake(model) if place:
                self._control.wake(model, place.index)
            case Woken(model) if place:
                self._control.rest(model, place.index)
            case Plan() if place:
                self._plans.wanted(place.index, message, child.tell)
            case Need(engine) if place:
                self._engines.need(engine, child.tell)
            case Edit() if place:
                self._followers.create_task(self._edits.begin(child, message), name=f"edit {message.model}")
            case Failed(reason) if place:
                place.failure = reason
            case Failed(reason):
                _log.error("standby: %s", reason)
            case Ready() if place and self._board.state(place.index) is State.STARTING:
                self._became_ready(place)
            case Draining() if place and self._board.state(place.index) in {State.STARTING, State.READY}:
                self._board.advance(place.index, State.DRAINING)
                self._control.count()
                self._edits.left(place)
                self._ending.out_of_the_way(child)

    def _became_ready(self, place: Place) -> None:
        now = asyncio.get_running_loop().time()
        self._board.advance(place.index, State.READY)
        place.ready_at = now
        self._journal.note("ready", text=f"replica {place.index}")
        if place.history:
            _log.info("replica %d is back after %.2f s", place.index, now - place.history[-1].at)
        if all(place.ready_at is not None for place in self._places):
            if self._board.pool_starting():
                self._board.latch_pool_ready()
                _log.info("ready: all %d replicas serve", len(self._places))
                if self._on_ready is not None:
                    self._on_ready(self._ground.http_port, self._ground.grpc_port)
            self._events.put_nowait(events.StandbyDue())

    def _ended(self, child: Child, code: int) -> None:
        self._children.discard(child)
        self._ending.out_of_the_way(child)
        place = self._place_of(child)
        if place is None:
            self._standby_ended(child, code)
            return
        served = self._board.state(place.index) in {State.READY, State.DRAINING}
        reason = place.failure or child.how_it_ended(code)
        self._board.advance(place.index, State.DEAD)
        self._control.left(place)
        self._edits.left(place)
        if not self._ending.begun:
            self._lost(place, code, reason)
        elif served and code != ExitCode.DRAINED and not self._ending.killing:
            self._ending.fail(f"replica {place.index}: {reason}")

    def _lost(self, place: Place, code: int, reason: str) -> None:
        """A place has lost its replica and nobody asked for it."""
        now = asyncio.get_running_loop().time()
        place.vacate(now, code, reason)
        self._journal.note("replica_lost", text=f"replica {place.index}: {reason}")
        match next_restart(place.history, now):
            case RestartAt(at):
                _log.warning("replica %d ended: %s; the next starts in %.2f s", place.index, reason, at - now)
                asyncio.get_running_loop().call_later(at - now, self._events.put_nowait, events.RestartDue(place))
            case GiveUp(exit_code, why):
                self._ending.give_up(exit_code, f"replica {place.index} {why}", self._standby)

    def _standby_ended(self, child: Child, code: int) -> None:
        if child is self._standby:
            self._standby = None
            if not self._ending.begun:
                _log.warning("standby (process %d) ended: %s", child.pid, child.how_it_ended(code))
                asyncio.get_running_loop().call_later(STANDBY_AGAIN_S, self._events.put_nowait, events.StandbyDue())

    def _tell_all(self, message: Message) -> None:
        for place in self._places:
            if place.child is not None:
                place.child.tell(message)

    def _place_of(self, child: Child) -> Place | None:
        return next((place for place in self._places if place.child is child), None)


def _last_uses_ms(directory: Path, now_ms: int) -> dict[str, int]:
    from server.statistics import last_uses_ms  # noqa: PLC0415 - with numpy, which is used for nothing else here

    return last_uses_ms(directory, now_ms)
