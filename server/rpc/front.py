"""The gRPC front end of one replica: its methods and its connections.

Receives the method tables of `servicer`, `health` and `reflection`; `protocol` carries the bytes of the connections
that whoever listens asks for. `sweep` is to be called every second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from headrace.errors import ModelNotReady
from server.dataplane import DataPlane
from server.pool.editor import Editor
from server.rpc import health, reflection, servicer
from server.rpc.calls import Streaming, Unary
from server.rpc.protocol import Site, Wire
from server.statistics import Statistics

LINGER_S: Final = 0.5
"""While draining, how long calls that are on their way are still taken."""
LAST_WORDS_S: Final = 1.0
"""How long a client may take to read that its call was given up."""


class GrpcFront:
    """`ready` tells whether the whole server takes requests; `lost` is called for each connection that is over.

    `drain` once, when no connection is accepted any more.
    """

    def __init__(
        self,
        dataplane: DataPlane,
        statistics: Statistics,
        ready: Callable[[], bool],
        editor: Editor,
        *,
        max_body_bytes: int,
        keep_alive_s: float,
        receive_timeout_s: float,
        max_age_s: float | None = None,
        lost: Callable[[], None] = lambda: None,
    ) -> None:
        self._servicer = servicer.Servicer(dataplane, statistics, ready, editor)
        self._health = health.Health(ready)
        methods = _named(servicer.NAME, self._servicer.methods) | _named(health.NAME, self._health.methods)
        mirror = reflection.Reflection(servicer.NAME, health.NAME)
        for name in reflection.NAMES:
            methods |= _named(name, mirror.methods)
        self.site = Site(methods, max_body_bytes, keep_alive_s, receive_timeout_s, max_age_s, lost)

    def connection(self) -> Wire:
        """A protocol for one accepted connection."""
        return Wire(self.site)

    def sweep(self, now: float) -> None:
        """A second has passed; it is `now` on the loop's clock."""
        for wire in list(self.site.wires):
            wire.sweep(now)

    async def drain(self, grace_s: float) -> None:
        """Take no new calls, answer those under way, then close; what is not answered in `grace_s` is cancelled."""
        self._servicer.drain()
        self._health.drain()
        self.site.draining = True
        for wire in list(self.site.wires):
            wire.leave(at_once=False)
        linger = asyncio.get_running_loop().call_later(min(LINGER_S, grace_s), self._leave)
        if not await self._gone(grace_s):
            for wire in list(self.site.wires):
                wire.abandon(ModelNotReady("the server is shutting down"))
            await self._gone(LAST_WORDS_S)
        linger.cancel()
        for wire in list(self.site.wires):
            wire.transport.abort()

    def _leave(self) -> None:
        self.site.gone = True
        for wire in list(self.site.wires):
            wire.leave(at_once=True)

    async def _gone(self, within_s: float) -> bool:
        """Whether all connections have gone, after at most `within_s`."""
        try:
            async with asyncio.timeout(within_s):
                while self.site.wires:
                    self.site.emptied.clear()
                    await self.site.emptied.wait()
        except TimeoutError:
            return False
        return True


def _named(service: str, methods: Mapping[str, Unary | Streaming]) -> dict[bytes, Unary | Streaming]:
    return {f"/{service}/{name}".encode(): method for name, method in methods.items()}
