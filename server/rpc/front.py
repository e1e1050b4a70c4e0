"""The gRPC front end of one replica: its methods, its port, its connections.

Receives the method tables of `servicer`, `health` and `reflection`; `protocol` carries the bytes. Start and drain are
mirror images; `sweep` is to be called every second.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from typing import Final

from headrace.errors import ModelNotReady
from server.dataplane import DataPlane
from server.pool.editor import Editor
from server.pool.sockets import listen_grpc, port_of
from server.rpc import health, reflection, servicer
from server.rpc.calls import Streaming, Unary
from server.rpc.protocol import Site, Wire
from server.statistics import Statistics

LINGER_S: Final = 0.5
"""While draining, how long calls that are on their way are still taken."""
LAST_WORDS_S: Final = 1.0
"""How long a client may take to read that its call was given up."""


class GrpcFront:
    """`start`, then `drain`, once each. `ready` tells whether the whole server takes requests."""

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
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._servicer = servicer.Servicer(dataplane, statistics, ready, editor)
        self._health = health.Health(ready)
        methods = _named(servicer.NAME, self._servicer.methods) | _named(health.NAME, self._health.methods)
        mirror = reflection.Reflection(servicer.NAME, health.NAME)
        for name in reflection.NAMES:
            methods |= _named(name, mirror.methods)
        self.site = Site(methods, max_body_bytes, keep_alive_s, receive_timeout_s, max_age_s)
        self._tls = tls
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Accept calls on `port` (0: any free one), which other replicas may share. Returns the port.

        Raises ConfigError naming the port if it cannot be had.
        """
        listening = listen_grpc(host, port)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Wire(self.site), sock=listening, ssl=self._tls)
        return port_of(listening)

    def sweep(self, now: float) -> None:
        """A second has passed; it is `now` on the loop's clock."""
        for wire in list(self.site.wires):
            wire.sweep(now)

    async def drain(self, grace_s: float) -> None:
        """Take no new calls, answer those under way, then close; what is not answered in `grace_s` is cancelled."""
        self._servicer.drain()
        self._health.drain()
        self.site.draining = True
        if self._server is None:
            return
        self._server.close()
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
