"""The way into the pool, for the command line."""

from __future__ import annotations

import asyncio
import math
from typing import Literal

from headrace.config import ServerConfig
from headrace.cores import usable_cores
from model_repo import sources
from model_repo.sources import Source
from server.pool.exit_codes import ExitCode
from server.pool.supervisor import OnReady, Supervisor


def run_pool(
    config: ServerConfig,
    application: str = "server.application:Application",
    on_ready: OnReady | None = None,
    source: Source | None = None,
) -> ExitCode:
    """Serve until told to stop. `application` is the dotted path of a ReplicaApplication. Call in the main thread.

    Without a `source` nothing is wanted.

    Raises ConfigError if an address cannot be taken: nothing has been started then.
    """
    replicas = how_many(config.replicas, usable_cores())
    return asyncio.run(Supervisor(config, replicas, application, on_ready, source or sources.none(())).run())


def how_many(replicas: int | Literal["auto"], cores: float) -> int:
    """What is configured, or one per core: rounded up, since half a core idle costs more than half a replica over."""
    return math.ceil(cores) if replicas == "auto" else replicas
