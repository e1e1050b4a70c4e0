"""Other people's children, which fall to a process that is the first of a container: they are reaped.

Receives SIGCHLD by way of the supervisor's loop. The kernel hands process 1 every process whose parent has ended. Its
own children are reaped by asyncio at once, so: who is a zombie at two looks, LOOK_S apart, is an orphan. Does nothing
in a process that inherits none.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

LOOK_S = 1.0


class Orphans:
    """Reaps them for as long as the running loop runs. Made once, in its thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._seen: int | None = None
        self._due: asyncio.TimerHandle | None = None
        self._loop.add_signal_handler(signal.SIGCHLD, self._look_later)

    def _look_later(self) -> None:
        if self._due is None:
            self._due = self._loop.call_later(LOOK_S, self._look)

    def _look(self) -> None:
        self._due = None
        zombie = _a_zombie()
        if zombie is not None and zombie == self._seen:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(zombie, os.WNOHANG)
            zombie = _a_zombie()
        self._seen = zombie
        if zombie is not None:
            self._look_later()


def _a_zombie() -> int | None:
    """A child of this process that has ended and was not waited for, and is not waited for by asking."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return found.si_pid if found else None
