"""The seam between the pool and the server that each replica runs.

The pool knows processes, sockets and who is ready; the application knows protocols and models. The replica calls, in
this order: the constructor; `run` as a task of its own; then `load`; `http_connection` and `grpc_connection` for each
connection that is accepted, from before `load` in a first-generation replica, so that it can say that it is alive but
not ready, after it in a replacement, so that it never says so while the others serve; at the end `drain`; then `run` is
cancelled.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from executor.activity import Activity
from headrace.config import ServerConfig
from server.engine.access import EngineAccess
from server.pool.agreement import Agreement
from server.pool.board import Board
from server.pool.crowd import Crowd
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
    not run itself; `activity` is what all replicas run on the CPU. Every protocol from `http_connection` calls
    `http.closed` once, in its `connection_lost`, and those from `grpc_connection` `grpc.closed`: found out by the
    listener it would take patching each instance.
    """

    index: int
    replicas: int
    generation: int
    board: Board
    http: Crowd
    grpc: Crowd
    counters: Path
    agreement: Agreement
    editor: Editor
    happened: Callable[[int, str], list[Happened]]
    counted: Callable[[], Mapping[str, int]]
    waker: Waker
    planner: Planner
    engines: EngineAccess
    activity: Activity


class ReplicaApplication(Protocol):
    """A complete server, less its processes and its listening sockets. All methods are called on the event loop."""

    grpc_tls: ssl.SSLContext | None
    """For the gRPC port; None: none."""

    def __init__(self, config: ServerConfig, place: ReplicaPlace) -> None:
        """Only store."""

    @staticmethod
    def at_leisure() -> None:
        """Import what is not needed before it serves. Blocking: in a thread of a process that has no place yet."""

    async def load(self) -> None:
        """Load everything that is wanted, or record it as failed. Cancelled if the replica must end meanwhile.

        Raises ConfigError or another ServingError if nothing can be served: the replica ends with BOOT_FAILED.
        """

    def http_connection(self) -> asyncio.Protocol:
        """A new protocol instance for one accepted connection."""
        ...

    def grpc_connection(self) -> asyncio.Protocol:
        """Likewise, to the gRPC port."""
        ...

    async def run(self) -> None:
        """Background work for the life of the replica, from before `load` until cancelled after `drain`."""

    async def drain(self, grace_s: float) -> None:
        """Answer what was accepted on HTTP and gRPC, then close the connections. The listeners are closed already.

        An accepted connection that has sent nothing yet still gets its first request answered. `load` may have been
        cancelled half-way. Cancelled itself when `grace_s` has passed, and the replica then ends with DRAIN_FAILED.
        """
