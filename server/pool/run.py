"""The way into the pool, for the command line."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from headrace.config import ServerConfig
from headrace.cores import usable_cores
from headrace.memory import limit
from server.pool.exit_codes import ExitCode
from server.pool.ground import ground

if TYPE_CHECKING:
    from model_repo.sources import Source
    from server.pool.supervisor import OnReady

BASE_BYTES = 96 << 20
REPLICA_BYTES = 80 << 20
"""What a pool takes without a replica (supervisor, standby), and a replica with small models: PSS, measured."""

_log = logging.getLogger("headrace.pool")


def run_pool(
    config: ServerConfig,
    application: str = "server.application:Application",
    on_ready: OnReady | None = None,
    source: Callable[[], Source] | None = None,
) -> ExitCode:
    """Serve until told to stop. `application` is the dotted path of a ReplicaApplication. Call in the main thread.

    `source` is called once processes have been started; without it nothing is wanted.

    Raises ConfigError if an address cannot be taken: nothing has been started then.
    """
    return asyncio.run(_run(config, application, on_ready, source))


async def _run(
    config: ServerConfig, application: str, on_ready: OnReady | None, source: Callable[[], Source] | None
) -> ExitCode:
    cores, memory = usable_cores(), limit()
    replicas = how_many(config.replicas, cores, memory)
    _log.info("usable: %.3g cores, %s of memory", cores, "?" if memory is None else f"{memory >> 20} MiB")
    with ground(config, application) as on:
        first = await on.first(replicas)
        # The imports of the supervisor, while those processes do theirs.
        from model_repo import sources  # noqa: PLC0415
        from server.pool.supervisor import Supervisor  # noqa: PLC0415

        return await Supervisor(config, replicas, on, first, on_ready, source() if source else sources.none(())).run()


def how_many(replicas: int | Literal["auto"], cores: float, memory: int | None = None) -> int:
    """What is configured, or one per core: rounded up, since half a core idle costs more than half a replica over.

    Fewer where so many would not fit into `memory` bytes, of which half is left for models and requests.
    """
    if replicas != "auto":
        return replicas
    wanted = math.ceil(cores)
    return wanted if memory is None else max(1, min(wanted, (memory // 2 - BASE_BYTES) // REPLICA_BYTES))
