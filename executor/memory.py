"""What was freed goes back to the system, instead of waiting in the process for the next of its kind.

glibc keeps freed memory in case it is wanted again, in arenas that threads share as long as nobody waits: of a model of
16 MB, reloaded 25 times while the cores were busy, 120 MB stayed with the process. So: 1. All threads but the main one
share one arena: new threads, one for each load, do not each leave theirs behind. 2. After an unload what is free is
given back; only the end of that one arena stays, at most 32 MB. Trimming it too (M_TRIM_THRESHOLD) cost a transformer
4 % of its throughput. Other C libraries give back by themselves.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

_M_ARENA_MAX, _ARENAS = -8, 2
"""Of glibc's mallopt(3)."""


def _function(name: str) -> Callable[..., int] | None:
    try:
        function: Callable[..., int] = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):  # not glibc
        return None
    return function


_trim, _set = _function("malloc_trim"), _function("mallopt")


def few_arenas() -> None:
    """For the rest of this process's life. Before it has many threads."""
    if _set is not None:
        _set(_M_ARENA_MAX, _ARENAS)


def give_back() -> None:
    """Blocking, some milliseconds. For any thread."""
    if _trim is not None:
        _trim(0)
