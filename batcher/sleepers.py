"""Slots that have nothing to do: one by one they sleep until somebody wakes one, or it is the time that was named.

Owned by one batcher, on one event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from math import inf

from batcher.alarm import Alarm


class Sleepers:
    """`woken` is called when one has been woken, before it runs."""

    def __init__(self, woken: Callable[[], None]) -> None:
        self.sleeps = 0
        """How often anybody went to sleep."""
        self._woken = woken
        self.asleep: deque[asyncio.Future[None]] = deque()
        """Who sleeps; empty: nobody need be woken."""
        self._alarm = Alarm(self.wake)

    async def sleep(self, now: float, until: float) -> None:
        """Until it is woken; `until` somebody is, if nobody names another time later."""
        self.sleeps += 1
        if until < inf:
            self._alarm.set(now, until)
        sleeper = asyncio.get_running_loop().create_future()
        self.asleep.append(sleeper)
        await sleeper

    def wake(self) -> None:
        """Who has slept longest goes on in the next turn of the loop."""
        while self.asleep:
            sleeper = self.asleep.popleft()
            if not sleeper.done():
                sleeper.set_result(None)
                self._woken()
                return

    def close(self) -> None:
        """Nobody is woken by time any more."""
        self._alarm.close()
