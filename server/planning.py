"""The thread in which plans are found, one after the other: in the supervisor, out of the way of requests.

A plan takes some hundredths of a second of Python. In a replica, it and the event loop would wait for each other's
interpreter lock; the supervisor has little else to do. The thread steps back behind everyone else: a plan comes late on
a core that is full of requests, and costs them nothing. How much it takes in all is bounded by who asks
(`server.pool.planner`).
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TypeAlias

from batcher.search import search
from batcher.twin import Picture, Settings, Twin
from executor.background import step_back

logger = logging.getLogger("headrace.planning")

Planned: TypeAlias = Callable[[Settings | None, float], None]
"""What was found, and the seconds of CPU that it took."""


class _GivenUpError(Exception):
    """Nobody wants to know any more."""


@dataclass(frozen=True, slots=True)
class _Question:
    loop: asyncio.AbstractEventLoop
    picture: Picture
    settings: Settings | None
    planned: Planned
    given_up: threading.Event

    def breathe(self) -> None:
        """Between two tries: whoever waits for the interpreter gets it."""
        if self.given_up.is_set():
            raise _GivenUpError
        time.sleep(0)


class PlanningThread:
    """Starts with the first call and ends with the process. `clock` tells its seconds of CPU."""

    def __init__(self, clock: Callable[[], float] = time.thread_time) -> None:
        self._clock = clock
        self._asked: SimpleQueue[_Question] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def __call__(
        self, picture: Picture, settings: Settings | None, planned: Planned, given_up: threading.Event
    ) -> None:
        """Search, and call `planned` on this event loop: with `settings` if the search fails or is given up."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="planning", daemon=True)
            self._thread.start()
        self._asked.put(_Question(asyncio.get_running_loop(), picture, settings, planned, given_up))

    def _work(self) -> None:
        step_back()
        while True:
            self._one(self._asked.get())

    def _one(self, question: _Question) -> None:
        better, began = question.settings, self._clock()
        try:
            better = search(Twin(question.picture, question.breathe), question.settings)
        except _GivenUpError:
            pass
        except Exception:  # the batcher goes on with the plan that it has, and will ask again
            logger.exception("no plan could be found")
        if not question.loop.is_closed():
            question.loop.call_soon_threadsafe(question.planned, better, self._clock() - began)
