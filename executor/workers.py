"""Threads that run blocking calls for the event loop: a queue in, futures of the loop out.

Receives calls from `onnx_executor`, hands results back through `call_soon_threadsafe`. Own code because
`run_in_executor` passes every call through two futures and a condition: 70 us there and back on asyncio (48 on uvloop)
where this takes 35 (24). Invariants: 1. A call whose future is cancelled before it began never begins; one that has
begun finishes unseen. 2. An idle thread holds no call's arguments or results.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")


class Workers(Generic[Given, Made]):
    """`count` daemon threads that apply `function`. They start with the first call."""

    def __init__(self, function: Callable[[Given], Made], count: int, name: str) -> None:
        self._function, self._count, self._name = function, count, name
        self._calls: SimpleQueue[tuple[asyncio.AbstractEventLoop, asyncio.Future[Made], Given] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def call(self, argument: Given) -> asyncio.Future[Made]:
        """The result of `function(argument)`, or its exception, to come. From the event loop only.

        Raises RuntimeError if the system has no thread left and none of ours runs.
        """
        if len(self._threads) < self._count:
            self._start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Made] = loop.create_future()
        self._calls.put((loop, future, argument))
        return future

    def close(self) -> None:
        """Let every call that was made finish, then end the threads. Blocking."""
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _start(self) -> None:
        for index in range(len(self._threads), self._count):
            thread = threading.Thread(target=self._work, name=f"{self._name} {index}", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system has none left: calls wait for each other, and the next one tries again
                if not self._threads:
                    raise
                return
            self._threads.append(thread)

    def _work(self) -> None:
        while self._one_call():
            pass

    def _one_call(self) -> bool:
        call = self._calls.get()
        if call is None:
            return False
        loop, future, argument = call
        if future.cancelled():
            return True
        result: Made | None = None
        failure: BaseException | None = None
        try:
            result = self._function(argument)
        except BaseException as error:
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits any more
            loop.call_soon_threadsafe(_settle, future, result, failure)
        return True


def _settle(future: asyncio.Future[Any], result: Any, failure: BaseException | None) -> None:
    if future.done():
        return
    if failure is None:
        future.set_result(result)
    elif isinstance(failure, StopIteration):  # which a future refuses, and then nobody would hear of anything
        future.set_exception(RuntimeError(f"the call raised {failure!r}"))
    else:
        future.set_exception(failure)
