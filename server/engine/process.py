"""An engine's life, in the process that the supervisor spawned.

wait for Boot -> listen -> Ready -> one `Guest` per replica that connects -> the supervisor ends it, or is gone
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from pathlib import Path
from typing import NoReturn

import uvloop

from batcher.turns import Turns
from executor.budget import Budget
from executor.cache import open_cache
from executor.host import Host
from executor.link.wire import listen
from executor.memory import few_arenas
from headrace.cache import cache_folder
from headrace.config import ServerConfig
from model_repo.spec import VersionSpec
from server import logs
from server.core import Core, load_core
from server.engine.gate import Gate
from server.engine.guest import welcome
from server.engine.shelf import LoadCore
from server.pool.channel import Boot, Channel, Planned, Ready
from server.pool.death_pipe import end_as_orphan
from server.pool.directory import counters_in, engine_in
from server.pool.planner import Planner
from server.statistics import Statistics

_CRASHED = 1
LOADS_AT_ONCE = 2

_log = logging.getLogger("headrace.engine")


def main(control_fd: int, directory: Path, name: str) -> NoReturn:
    """Leaves by `_exit`, as a replica does."""
    try:
        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        runner.run(_live(socket.socket(fileno=control_fd), directory, name))
    except BaseException:
        _log.exception("engine process %d crashed", os.getpid())
    finally:
        logging.shutdown()
        sys.stderr.flush()
        os._exit(_CRASHED)


async def _live(control: socket.socket, directory: Path, name: str) -> None:
    channel = await Channel.over(control)
    messages = channel.messages()
    boot = await anext(messages, None)
    if boot is None:
        end_as_orphan(directory)
    assert isinstance(boot, Boot), f"expected Boot first, got {boot}"
    config = ServerConfig.model_validate_json(boot.config)
    logs.set_up(config.log_format, config.log_level, f"engine {name}", echo=False)
    few_arenas()
    planner = Planner(channel.send)
    listening = listen(engine_in(directory, name))
    channel.send(Ready())
    gate = Gate()
    load = _loader(config, boot.index, directory, planner, gate)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(welcome(listening, load, gate, tasks), name="welcome")
        async for message in messages:
            assert isinstance(message, Planned), f"expected Planned, got {message}"
            planner.heard(message)
        end_as_orphan(directory)


def _loader(config: ServerConfig, index: int, directory: Path, planner: Planner, gate: Gate) -> LoadCore:
    """Loads versions for this engine, whose counters are those of place `index`."""
    statistics = Statistics(counters_in(directory), index)
    holdings = statistics.holdings
    cache = open_cache(cache_folder(config.cache_dir, os.environ), config.cache_max_bytes)
    host = Host(cache=cache, budget=Budget(holdings.turn, holdings.mapped))
    devices: dict[str, Turns] = {}
    loads = asyncio.Semaphore(LOADS_AT_ONCE)

    async def load(spec: VersionSpec) -> Core:
        async with loads:
            return await load_core(spec, host, statistics.open, planner, devices, gate.watched, holdings)

    return load
