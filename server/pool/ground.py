"""What a pool stands on, taken before anything else: its two addresses, its private directory, its first processes.

A process takes about half a second of CPU to import what a replica needs, and the supervisor nearly as long for what
it needs itself: so the first are started here, when next to nothing is imported yet, and both import at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from headrace.config import ServerConfig
from server.pool.child import Child
from server.pool.directory import private_directory
from server.pool.sockets import Ports, listen, port_of


@dataclass(frozen=True, slots=True)
class Ground:
    """`ports` listen, and are closed by whoever ends the pool first; `application` is what its processes import."""

    ports: Ports
    http_port: int
    grpc_port: int
    directory: Path
    application: str

    async def spawn(self) -> Child:
        """One more process. Raises OSError."""
        return await Child.spawn("server.pool", self.directory, self.application, self.ports)

    async def first(self, number: int) -> list[Child]:
        """So many processes, or fewer where the system refuses. Whoever goes on without them is their parent still."""
        born: list[Child] = []
        with contextlib.suppress(OSError):  # the supervisor will try again, and say so
            while len(born) < number:
                born.append(await self.spawn())
        return born


@contextlib.contextmanager
def ground(config: ServerConfig, application: str) -> Iterator[Ground]:
    """Until the end of the block. Raises ConfigError if an address cannot be taken."""
    with contextlib.ExitStack() as stack:
        http = stack.enter_context(listen(config.host, config.http_port, "http_port"))
        grpc = stack.enter_context(listen(config.host, config.grpc_port, "grpc_port"))
        directory = stack.enter_context(private_directory())
        yield Ground(Ports(http, grpc), port_of(http), port_of(grpc), directory, application)
