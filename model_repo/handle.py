"""One loaded instance, which is also the claim that requests hold on it.

Made by the manager when a load begins; given to requests by `Manager.acquire`. One object per instance and a count
instead of one object per request: a claim costs an addition. Invariants: 1. `servable` is set exactly from READY until
it is closed. 2. `claims` only rises while the instance is routed to, so once it is QUIESCING it only falls.
3. UNLOADING begins when `claims` is 0.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Generic, Protocol, TypeVar

from model_repo.actions import Instance
from model_repo.spec import VersionSpec
from model_repo.states import Lifecycle

log = logging.getLogger("headrace.model_repo")


class Closable(Protocol):
    """What the manager needs of a servable."""

    async def close(self) -> None:
        """Give back all it holds. Called once, when no request holds it."""
        ...


S = TypeVar("S", bound=Closable)


class Handle(Generic[S]):
    """A claim on a servable. Whoever got it from `acquire` calls `release` exactly once, whatever happened between."""

    __slots__ = ("_idle", "claims", "life", "on_trial", "serial", "servable", "spec")

    servable: S

    def __init__(self, serial: int, spec: VersionSpec) -> None:
        self.serial = serial
        self.spec = spec
        self.life = Lifecycle()
        self.claims = 0
        self.on_trial = False
        self._idle: asyncio.Event | None = None

    def release(self) -> None:
        """The request is over: it does not touch `servable` any more."""
        assert self.claims > 0, f"{self.spec.id} released more often than acquired"
        self.claims -= 1
        if self.claims == 0 and self._idle is not None:
            self._idle.set()

    async def released(self) -> None:
        """Wait until nobody holds a claim. For the manager, once no new claim can be made."""
        if self.claims:
            self._idle = asyncio.Event()
            await self._idle.wait()

    async def close(self) -> None:
        """Close the servable once nobody holds a claim, and no new one can be made. A failure to do so is logged."""
        await self.released()
        try:
            await self.servable.close()
        except Exception:
            log.exception("%s failed to close", self.spec.id)
        del self.servable
        log.info("%s is unloaded", self.spec.id)

    def snapshot(self) -> Instance:
        """What the decider may see of it."""
        return Instance(self.serial, self.spec.id, self.spec.fingerprint, self.life.state, self.on_trial)
