"""A nap of the event loop while runs in threads have the core: it is over when one of them is.

Counted by `workers`, taken by whoever knows that nothing is urgent (`server.doze`).
"""

from __future__ import annotations

from contextlib import suppress
from queue import Empty, SimpleQueue


class Nap:
    """One event loop's."""

    def __init__(self) -> None:
        self.running = 0
        """Runs in threads whose end the loop has not heard of."""
        self._ends: SimpleQueue[None] = SimpleQueue()

    def take(self, seconds: float) -> None:
        """Block the loop's thread for so long, or until a run is over. One that ended since the last nap counts."""
        with suppress(Empty):
            self._ends.get(timeout=seconds)

    def over(self) -> None:
        """A run has ended, and the loop has been called. From the thread that ran it."""
        if self._ends.empty():
            self._ends.put(None)
