"""Threads that run blocking calls for the event loop: a call in, a future of the loop out.

Receives calls from `onnx_executor`, hands results back through `call_soon_threadsafe`. Own code because
`run_in_executor` passes every call through two futures and a condition: 70 us there and back on asyncio (48 on uvloop)
where this takes 35 (24). Of several idle threads the one that was busy last is taken: its caches are warm, and so is
what a runtime keeps for each thread (with four threads in turns, lone runs of 0.4 ms on an H100 took 0.1 ms longer).
Invariants: 1. A call whose future is cancelled before it began never begins; one that has begun finishes unseen. 2. An
idle thread holds no call's arguments or results. 3. Calls wait only while all threads are busy, and begin in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, TypeAlias, TypeVar

from executor.nap import Nap

Given = TypeVar("Given")
Made = TypeVar("Made")
_Call: TypeAlias = tuple[asyncio.AbstractEventLoop, asyncio.Future[Made], Given]


class Workers(Generic[Given, Made]):
    """Up to `count` daemon threads that apply `function`. Each starts with the first call for which none is idle.

    `nap` is the event loop's, which hears of each call.
    """

    def __init__(self, function: Callable[[Given], Made], count: int, name: str, nap: Nap | None = None) -> None:
        self._function, self._count, self._name = function, count, name
        self._nap = nap or Nap()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        """Of all that follows."""
        self._waiting: deque[_Call[Made, Given]] = deque()
        self._idle: list[SimpleQueue[_Call[Made, Given] | None]] = []
        """Where idle threads take their next call from, the one that was busy last at the end."""
        self._closing = False

    def call(self, argument: Given) -> asyncio.Future[Made]:
        """The result of `function(argument)`, or its exception, to come. From the event loop only.

        Raises RuntimeError if the system has no thread left and none of ours runs.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Made] = loop.create_future()
        call = (loop, future, argument)
        if not self._hand_on(call):
            self._start(call)
        self._nap.running += 1
        return future

    def close(self) -> None:
        """Let every call that was made finish, then end the threads. Blocking."""
        with self._lock:
            self._closing = True
            for calls in self._idle:
                calls.put(None)
            self._idle.clear()
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        self._closing = False

    def _start(self, call: _Call[Made, Given]) -> None:
        calls: SimpleQueue[_Call[Made, Given] | None] = SimpleQueue()
        calls.put(call)
        name = f"{self._name} {len(self._threads)}"
        thread = threading.Thread(target=self._work, args=(calls,), name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system has none left: calls wait for each other, and the next one tries again
            if not self._threads:
                raise
            self._hand_on(call, wait=True)
        else:
            self._threads.append(thread)

    def _hand_on(self, call: _Call[Made, Given], *, wait: bool = False) -> bool:
        """To an idle thread; or to whichever is idle next, if there are to be no more of them."""
        with self._lock:
            if self._idle:
                self._idle.pop().put(call)
            elif wait or len(self._threads) == self._count:
                self._waiting.append(call)
            else:
                return False
        return True

    def _work(self, calls: SimpleQueue[_Call[Made, Given] | None]) -> None:
        while self._one_call(calls):
            pass

    def _one_call(self, calls: SimpleQueue[_Call[Made, Given] | None]) -> bool:
        call = calls.get()
        if call is None:
            return False
        loop, future, argument = call
        result: Made | None = None
        failure: BaseException | None = None
        if not future.cancelled():
            try:
                result = self._function(argument)
            except BaseException as error:
                failure = error
        self._rest(calls)  # first: who hears of the result may call again at once, and should find this thread idle
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits any more
            loop.call_soon_threadsafe(self._settle, future, result, failure)
        self._nap.over()
        return True

    def _rest(self, calls: SimpleQueue[_Call[Made, Given] | None]) -> None:
        with self._lock:
            if self._waiting:
                calls.put(self._waiting.popleft())
            elif self._closing:
                calls.put(None)
            else:
                self._idle.append(calls)

    def _settle(self, future: asyncio.Future[Made], result: Any, failure: BaseException | None) -> None:
        self._nap.running -= 1
        if future.done():
            return
        if failure is None:
            future.set_result(result)
        elif isinstance(failure, StopIteration):  # which a future refuses, and then nobody would hear of anything
            future.set_exception(RuntimeError(f"the call raised {failure!r}"))
        else:
            future.set_exception(failure)
