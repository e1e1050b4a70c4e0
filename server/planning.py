"""The thread in which a replica's batchers find their plans, one after the other, out of the way of requests.

A plan takes some tens of milliseconds of Python. The thread steps back behind everyone else, lets go of the interpreter
every few dozen microseconds, so that the event loop never waits for it noticeably, and rests `REST` times as long as it
has worked: on a core that is shared with the requests it never takes more than one part in twenty.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

from batcher.adaptive import Found
from batcher.search import search
from batcher.twin import Picture, Settings, Twin
from executor.background import step_back

logger = logging.getLogger("headrace.planning")

REST = 19.0


class PlanningThread:
    """A `batcher.adaptive.Planner` when called. The thread starts with the first call and ends with the process.

    `clock` and `sleep` are of the thread, in seconds.
    """

    def __init__(
        self, clock: Callable[[], float] = time.thread_time, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._asked: SimpleQueue[tuple[asyncio.AbstractEventLoop, Picture, Settings | None, Found]] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def __call__(self, picture: Picture, settings: Settings | None, found: Found) -> None:
        """Search, and call `found` on this event loop."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="planning", daemon=True)
            self._thread.start()
        self._asked.put((asyncio.get_running_loop(), picture, settings, found))

    def _work(self) -> None:
        step_back()
        while True:
            asked = self._asked.get()
            began = self._clock()
            self._one(*asked)
            self._sleep(REST * (self._clock() - began))

    def _one(self, loop: asyncio.AbstractEventLoop, picture: Picture, settings: Settings | None, found: Found) -> None:
        better = settings
        try:
            better = search(Twin(picture, _breathe), settings)
        except Exception:  # the batcher goes on with the plan that it has, and will ask again
            logger.exception("no plan could be found")
        if not loop.is_closed():
            loop.call_soon_threadsafe(found, better)


def _breathe() -> None:
    time.sleep(0)  # whoever waits for the interpreter gets it
