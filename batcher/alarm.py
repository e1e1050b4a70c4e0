"""Wake me at a time: one armed time at most, a later one replaces it.

uvloop's timers count in whole milliseconds and fire at once for less than a half; a wait for company is often shorter.
Linux has timers in nanoseconds that the loop can watch like a socket (`timerfd`): woken 20 to 80 us late at the median,
1.5 us to arm. Loops that tell a time of their own (tests, other platforms) use their own timers.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable

_MONOTONIC = 1
_NONBLOCK_CLOEXEC = os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0)
_ABSOLUTE = 1
_EXPIRATIONS_BYTES = 8


class Alarm:
    """Calls `ring` on the event loop. Times are `time.monotonic()`, or the loop's own where that is another."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None
        self._precise: _TimerFd | None = None

    def set(self, now: float, then: float) -> None:
        """Ring at `then`. Anything set before is forgotten."""
        loop = asyncio.get_running_loop()
        if self._precise is None and _is_coarse(loop):
            self._precise = _TimerFd(loop, self._ring)
        if self._precise is not None:
            self._precise.set(then)
            return
        self.clear()
        self._timer = loop.call_later(max(0.0, then - now), self._ring)

    def clear(self) -> None:
        """Do not ring."""
        if self._precise is not None:
            self._precise.set(0.0)
        elif self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """Give back what it holds."""
        self.clear()
        if self._precise is not None:
            self._precise.close()
            self._precise = None


def _is_coarse(loop: asyncio.AbstractEventLoop) -> bool:
    return sys.platform == "linux" and type(loop).__module__.partition(".")[0] == "uvloop"


class _TimerFd:
    """timerfd_create(2): a descriptor that becomes readable at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._settime = libc.timerfd_settime
        self._settime.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
        self._fd = libc.timerfd_create(_MONOTONIC, _NONBLOCK_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._spec = (ctypes.c_longlong * 4)()  # interval (s, ns), first expiration (s, ns)
        self._address = ctypes.addressof(self._spec)
        self._loop = loop
        self._ring = ring
        loop.add_reader(self._fd, self._expired)

    def set(self, then: float) -> None:
        """Expire at `then`, 0 disarms. What has expired and was not read is forgotten."""
        seconds = int(then)
        self._spec[2] = seconds
        self._spec[3] = int((then - seconds) * 1e9)
        self._settime(self._fd, _ABSOLUTE, self._address, None)

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def _expired(self) -> None:
        try:
            os.read(self._fd, _EXPIRATIONS_BYTES)
        except BlockingIOError:  # set again in the same turn
            return
        self._ring()
