"""The seam between the pool and the server that each replica runs.

The pool knows processes, sockets and who is ready; the application knows protocols and models. The replica calls, in
this order: the constructor; `run` as a task of its own; then `open_grpc` and `load` (a first-generation replica opens
first, so that it can say that it is alive but not ready; a replacement loads first, so that it never says so while the
others serve); `connection` for each accepted HTTP connection; at the end `drain`; then `run` is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from executor.activity import Activity
from headrace.config import ServerConfig
from server.engine.access import EngineAccess
from server.pool.agreement import Agreement
from server.pool.board import Board
from server.pool.editor import Editor
from server.pool.journal import Happened
from server.pool.planner import Planner
from server.pool.waker import Waker


@dataclass(frozen=True, slots=True)
class ReplicaPlace:
    """Which replica this is. `counters` is a directory that all replicas of the pool share and that ends with it;
    `agreement` tells what is wanted, and when a load may be published; `editor` is for those who want it otherwise;
    `happened(since, model)` gives the pool's events and `counted()` how many of each kind (journal.py); `waker` is for
    those who wait for a model that is asleep; `planner` finds plans for batchers; `engines` run what this replica does
    not run itself; `activity` is what all replicas run on the CPU.
    """

    index: int
    replicas: int
    generation: int
    http_port: int
    grpc_port: int
    board: Board
    counters: Path
    agreement: Agreement
    editor: Editor
    happened: Callable[[int, str], list[Happened]]
    counted: Callable[[], Mapping[str, int]]
    waker: Waker
    planner: Planner
    engines: EngineAccess
    activity: Activity

    def connection_closed(self) -> None:
        """Every protocol from `ReplicaApplication.connection` calls this once, in its `connection_lost`.

        Said by the protocol rather than found out by the listener: that would take patching each instance.
        """
        self.board.connection_closed(self.index)


class ReplicaApplication(Protocol):
    """A complete server, less its processes and its listening HTTP socket. All methods are called on the event loop."""

    def __init__(self, config: ServerConfig, place: ReplicaPlace) -> None:
        """Only store."""

    @staticmethod
    def at_leisure() -> None:
        """Import what is not needed before it serves. Blocking: in a thread of a process that has no place yet."""

    async def load(self) -> None:
        """Load everything that is wanted, or record it as failed. Cancelled if the replica must end meanwhile.

        Raises ConfigError or another ServingError if nothing can be served: the replica ends with BOOT_FAILED.
        """

    def connection(self) -> asyncio.Protocol:
        """A new protocol instance for one accepted HTTP connection. It calls `place.connection_closed` when lost."""
        ...

    async def open_grpc(self) -> None:
        """Take gRPC on `place.grpc_port` (with SO_REUSEPORT) from now on. Raises like `load`."""

    async def run(self) -> None:
        """Background work for the life of the replica, from before `load` until cancelled after `drain`."""

    async def drain(self, grace_s: float) -> None:
        """Answer what was accepted on HTTP and gRPC, then close the connections. The HTTP listener is closed already.

        An accepted connection that has sent nothing yet still gets its first request answered. `load` may have been
        cancelled half-way. Cancelled itself when `grace_s` has passed, and the replica then ends with DRAIN_FAILED.
        """
