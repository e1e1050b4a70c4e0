"""The supervisor's engines: one is started when a replica first needs it, and again when it has died.

Runs a task per engine on the supervisor's loop; says to all replicas when an engine is up, or given up. The rules for
when to try again are those of replicas (restarts.py), but that an engine that is given up takes nothing down with it:
its models are not ready, and the reason is in the index.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from server.pool.channel import Boot, EngineDown, EngineUp, Failed, Message, Plan, Ready
from server.pool.child import Child
from server.pool.journal import Journal
from server.pool.place import Place
from server.pool.planner import Plans
from server.pool.restarts import GiveUp, next_restart

_CANNOT_START = 1

_log = logging.getLogger("headrace.pool")

Task = Callable[[Coroutine[Any, Any, None]], object]
Tell = Callable[[Message], None]


class Engines:
    """`replicas` is their number, `config` the server's as JSON; `task` runs a coroutine, `tell` reaches them all."""

    def __init__(
        self, directory: Path, replicas: int, config: str, plans: Plans, journal: Journal, task: Task, tell: Tell
    ) -> None:
        self._directory = directory
        self._replicas = replicas
        self._config = config
        self._plans = plans
        self._journal = journal
        self._task = task
        self._tell = tell
        self._places: dict[str, Place] = {}
        self._ended = False

    def need(self, name: str, tell: Tell) -> None:
        """A replica, which `tell` reaches, wants to be connected with it."""
        place = self._places.get(name)
        if place is None:
            place = self._places[name] = Place(self._replicas + len(self._places))
            self._task(self._keep(name, place))
        elif place.ready_at is not None:
            tell(EngineUp(name))

    def end(self) -> None:
        """No replica is left. Nobody waits for what they do."""
        self._ended = True
        for place in self._places.values():
            if place.child is not None:
                place.child.kill()

    async def _keep(self, name: str, place: Place) -> None:
        loop = asyncio.get_running_loop()
        while not self._ended:
            try:
                child = await Child.spawn("server.engine", self._directory, name)
            except OSError as error:
                code, reason = _CANNOT_START, f"no process could be started: {error}"
            else:
                code = await self._live(name, place, child)
                reason = place.failure or child.how_it_ended(code)
            if self._ended:
                return
            now = loop.time()
            place.vacate(now, code, reason)
            self._journal.note("engine_lost", text=f"engine {name}: {reason}")
            verdict = next_restart(place.history, now)
            if isinstance(verdict, GiveUp):
                _log.error("engine %s %s", name, verdict.reason)
                self._journal.note("engine_lost", text=f"engine {name} {verdict.reason}")
                del self._places[name]  # whoever needs it again begins anew
                self._tell(EngineDown(name, verdict.reason))
                return
            _log.warning("engine %s ended: %s; the next starts in %.2f s", name, reason, verdict.at - now)
            await asyncio.sleep(verdict.at - now)

    async def _live(self, name: str, place: Place, child: Child) -> int:
        """From its start to its end; its exit code."""
        loop = asyncio.get_running_loop()

        def said(message: Message) -> None:
            match message:
                case Ready():
                    place.ready_at = loop.time()
                    self._journal.note("ready", text=f"engine {name}")
                    if place.history:
                        _log.info("engine %s is back after %.2f s", name, place.ready_at - place.history[-1].at)
                    self._tell(EngineUp(name))
                case Failed(reason):
                    place.failure = reason
                case Plan():
                    self._plans.wanted(name, message, child.tell)

        place.take(child)
        child.boot(
            Boot(
                index=place.index,
                replicas=self._replicas,
                generation=len(place.history) + 1,
                config=self._config,
            )
        )
        if self._ended:
            child.kill()
        return await child.follow(said)
