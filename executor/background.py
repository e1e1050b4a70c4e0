"""A thread of its own for work that must not get in the way of requests, such as loading a model.

On one core, p99 was 3.5 times as high while a 16 MB model was reloaded in a thread like any other, and 1.6 times in one
that steps back (`bench/reload.py`). Only Linux has priorities of threads; elsewhere nothing changes.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_LOWEST = 19


async def in_background(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of `work`, run in a new thread that ends with it. Cancelled: the thread finishes unseen."""
    thread = ThreadPoolExecutor(1, "background")
    try:
        return await asyncio.get_running_loop().run_in_executor(thread, lambda: work(*args, **kwargs))
    finally:
        thread.shutdown(wait=False)


def step_back() -> None:
    """Let everyone else have the cores first, for the rest of this thread's life. Threads that it starts inherit it.

    There is no way back without privileges: only for a thread of one's own.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST)
