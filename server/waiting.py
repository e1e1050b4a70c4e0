"""Requests for models that are asleep: they wait here until the model is loaded, cannot be, or they give up.

Receives requests from the data plane that found no route, has their models woken (`pool/waker.py`), and lets all that
wait for one enter together, in order, once it can be asked. Invariants: 1. Of each who waits exactly one thing happens:
it enters, it is refused, or it is cancelled. 2. Nobody waits longer than its own timeout, nor past `end`, nor for a
model that will not come: then it is refused with the reason. 3. At most `most` wait.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

from headrace.errors import DeadlineExceeded, ModelNotReady, QueueFull, ServingError
from model_repo.manager import Manager
from server.pool.waker import Waker

logger = logging.getLogger("headrace.waiting")

MOST_WAITING = 4096
"""As many as a model's queue takes rows by default. A load of a large model may take half a minute."""


class Cancellable(Protocol):
    """Something under way that its client may give up."""

    def cancel(self) -> None:
        """The client went away. Nothing is answered from here on."""
        ...


Enter = Callable[["Waiting"], Cancellable | None]
"""Called when the model can be asked; what is under way from then on. Raises nothing that is foreseen."""
Refuse = Callable[[ServingError], None]


class Waiting:
    """One who waits. `since` is when it came, by `time.monotonic`."""

    __slots__ = ("_entered", "_room", "enter", "model", "refuse", "since", "timeout_us", "timer", "version")

    def __init__(
        self, room: WaitingRoom, model: str, version: str, timeout_us: int, enter: Enter, refuse: Refuse
    ) -> None:
        self._room = room
        self._entered: Cancellable | None = None
        self.model = model
        self.version = version
        self.timeout_us = timeout_us
        self.enter = enter
        self.refuse = refuse
        self.since = time.monotonic()
        self.timer: asyncio.TimerHandle | None = None

    def cancel(self) -> None:
        """The client went away, whether it still waits or has entered."""
        self._room.leave(self)
        if self._entered is not None:
            self._entered.cancel()

    def admit(self) -> None:
        """Its model can be asked."""
        self._entered = self.enter(self)

    def left_us(self) -> int:
        """What is left of its timeout, at least 1; 0 if it has none."""
        waited_us = int((time.monotonic() - self.since) * 1e6)
        return max(1, self.timeout_us - waited_us) if self.timeout_us else 0


class WaitingRoom:
    """Used on the replica's event loop only. `follow` must be running for anybody to enter."""

    def __init__(self, models: Manager[Any], waker: Waker, most: int = MOST_WAITING) -> None:
        self._models = models
        self._waker = waker
        self._most = most
        self._waiting: dict[str, dict[Waiting, None]] = {}
        self._count = 0
        self._ended = False

    def is_for(self, model: str) -> bool:
        """Whether the model may be asked for although it is not there: it is asleep or coming."""
        return self._models.may_come(model)

    def wait(self, model: str, version: str, timeout_us: int, enter: Enter, refuse: Refuse) -> Waiting:
        """Wait for a model that `is_for` is true of. Raises QueueFull, ModelNotReady: nobody waits then."""
        if self._ended:
            raise ModelNotReady(f"model {model!r} is not ready: the server is shutting down")
        if self._count >= self._most:
            raise QueueFull(f"model {model!r} is not loaded yet, and {self._count} requests wait for models already")
        waiting = Waiting(self, model, version, timeout_us, enter, refuse)
        self._waiting.setdefault(model, {})[waiting] = None
        self._count += 1
        if timeout_us:
            waiting.timer = asyncio.get_running_loop().call_later(timeout_us / 1e6, self._expire, waiting)
        self._waker.wake(model)
        return waiting

    def leave(self, waiting: Waiting) -> bool:
        """It waits no more. Whether it did."""
        others = self._waiting.get(waiting.model, {})
        if waiting not in others:
            return False
        del others[waiting]
        self._count -= 1
        if waiting.timer is not None:
            waiting.timer.cancel()
        if not others:
            del self._waiting[waiting.model]
            self._waker.woken(waiting.model)
        return True

    async def follow(self) -> None:
        """Let in whoever can enter whenever something has happened to the models. One task, until cancelled."""
        while True:
            await self._models.progressed()
            self.look()

    def look(self) -> None:
        """Let in or refuse whoever need not wait any longer."""
        for model in list(self._waiting):
            coming = self._models.may_come(model)
            if coming and not self._models.ready_versions(model):
                continue  # nothing has changed for anybody, and a refusal is not cheap to make
            for waiting in list(self._waiting.get(model, ())):
                try:
                    self._models.acquire(model, waiting.version).release()
                except ServingError as error:
                    if not coming:
                        self._finish(waiting, error)
                else:
                    self._finish(waiting)

    def end(self) -> None:
        """The replica goes away: nobody waits any longer, and nobody begins to."""
        self._ended = True
        for model in list(self._waiting):
            for waiting in list(self._waiting.get(model, ())):
                self._finish(waiting, ModelNotReady(f"model {model!r} is not ready: the server is shutting down"))

    def _expire(self, waiting: Waiting) -> None:
        timeout_ms = waiting.timeout_us / 1e3
        sentence = f"the request's timeout of {timeout_ms:g} ms passed before model {waiting.model!r} was loaded"
        self._finish(waiting, DeadlineExceeded(sentence))

    def _finish(self, waiting: Waiting, refusal: ServingError | None = None) -> None:
        # The last one to leave lets the model sleep again, but not before the loop turns: by then all have entered.
        if not self.leave(waiting):
            return  # cancelled by what became of another
        try:
            if refusal is None:
                waiting.admit()
            else:
                waiting.refuse(refusal)
        except Exception:  # a bug in whoever receives it; the others are not to suffer
            logger.exception("a request that waited for model %s could not be told", waiting.model)
