"""Threads for calls that block on a network: nobody ever waits for them to end.

A process that is told to stop must not hang on a peer that is silent, so they are daemon threads and not a pool's,
which Python joins at exit. What they do must bear being cut off anywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def in_thread(work: Callable[[], R]) -> R:
    """The result of `work`, or what it raised. Cancelled: the thread finishes unseen."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[R] = loop.create_future()

    def tell(result: R | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type] # it is R where there is no error

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as raised:
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is there to be told
            loop.call_soon_threadsafe(tell, result, error)

    threading.Thread(target=run, name="remote", daemon=True).start()
    return await future


def spread(work: Callable[[T], R], items: Sequence[T], threads: int) -> Iterator[tuple[T, R | Exception]]:
    """Each item with its result, or what was raised, as they come. Not iterated to the end: the rest is not begun."""
    waiting: SimpleQueue[T] = SimpleQueue()
    done: SimpleQueue[tuple[T, R | Exception]] = SimpleQueue()
    for item in items:
        waiting.put(item)
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            try:
                item = waiting.get_nowait()
            except Empty:
                return
            try:
                done.put((item, work(item)))
            except Exception as error:
                done.put((item, error))

    for _ in range(min(threads, len(items))):
        threading.Thread(target=run, name="remote", daemon=True).start()
    try:
        for _ in items:
            yield done.get()
    finally:
        stop.set()
