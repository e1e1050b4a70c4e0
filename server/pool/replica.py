"""A replica's life, in the process that the supervisor spawned (`__main__.py`).

    import the application -> wait for Boot (until then this is a standby) -> constructor, run, load
    -> Ready -> serve, publish what all have prepared -> Drain or SIGTERM -> close the listeners -> drain -> end

Receives its place over the control channel and the listening sockets by inheritance, hands accepted connections to the
application. Invariants: 1. A first-generation replica listens from the start, a replacement once it has loaded. 2. It
says Ready after it listens and has loaded. 3. It ends when the supervisor does (death_pipe.py). 4. Its exit code is an
`ExitCode`, or 1 with a traceback for a bug. It decides nothing about other replicas.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

import uvloop

from executor.activity import Activity
from headrace.config import ServerConfig
from headrace.errors import ServingError
from server.engine.access import EngineAccess
from server.pool import journal
from server.pool.agreement import Agreement
from server.pool.application import ReplicaApplication, ReplicaPlace
from server.pool.board import Board
from server.pool.channel import (
    Boot,
    Channel,
    Drain,
    Draining,
    Edited,
    EngineDown,
    EngineUp,
    Failed,
    Message,
    Planned,
    Ready,
    Settle,
    Verdict,
    Wanted,
)
from server.pool.death_pipe import end_as_orphan
from server.pool.directory import activity_in, board_in, counters_in, models_in
from server.pool.editor import Editor
from server.pool.exit_codes import ExitCode
from server.pool.listener import Listener
from server.pool.planner import Planner
from server.pool.sockets import Ports
from server.pool.waker import Waker

_CRASHED = 1
LEISURE_S = 1.0

_log = logging.getLogger("headrace.pool")


def main(control_fd: int, listening_fds: Sequence[int], directory: Path, application: str) -> NoReturn:
    """Leaves by `_exit`: at this point threads of native libraries may hang a normal exit."""
    control, ports = socket.socket(fileno=control_fd), Ports(*[socket.socket(fileno=fd) for fd in listening_fds])
    code: int = _CRASHED
    try:
        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)  # not closed: that would wait for stuck threads
        code = runner.run(_live(control, ports, directory, application))
    except Exception:
        _log.exception("replica process %d crashed", os.getpid())
    finally:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


async def _live(control: socket.socket, ports: Ports, directory: Path, application: str) -> ExitCode:
    channel = await Channel.over(control)
    try:
        kind = _import(application)
    except Exception as error:  # whatever an import may raise
        if not isinstance(error, ImportError | ServingError):
            _log.exception("importing %s failed", application)
        channel.send(Failed(f"{application}: {error}"))
        await channel.flush()
        return ExitCode.BOOT_FAILED
    boot = await _boot(channel, kind)
    if boot is None:
        end_as_orphan(directory)
    assert isinstance(boot, Boot), f"expected Boot first, got {boot}"
    return await Replica(boot, channel, ports, directory, kind).live()


async def _boot(channel: Channel, kind: type[ReplicaApplication]) -> Message | None:
    """The first message. Who has waited for it a while is a standby, and has time."""
    first = asyncio.ensure_future(anext(channel.messages(), None))
    await asyncio.wait({first}, timeout=LEISURE_S)
    if not first.done():
        await asyncio.to_thread(kind.at_leisure)
    return await first


def _import(path: str) -> type[ReplicaApplication]:
    module, _, name = path.partition(":")
    kind: type[ReplicaApplication] = getattr(importlib.import_module(module), name)
    return kind


class Replica:
    """One life in one place. `live` is called once."""

    def __init__(
        self, boot: Boot, channel: Channel, ports: Ports, directory: Path, kind: type[ReplicaApplication]
    ) -> None:
        self._config = ServerConfig.model_validate_json(boot.config)
        board = Board.open(board_in(directory))
        self._agreement = Agreement(directory, channel.send)
        self._editor = Editor(self._config.model_control_mode, models_in(directory).resolve(), channel.send)
        self._planner = Planner(channel.send)
        self._engines = EngineAccess(directory, channel.send)
        place = ReplicaPlace(
            index=boot.index,
            replicas=boot.replicas,
            generation=boot.generation,
            board=board,
            http=board.http(boot.index),
            grpc=board.grpc(boot.index),
            counters=counters_in(directory),
            agreement=self._agreement,
            editor=self._editor,
            happened=partial(journal.read, directory),
            counted=partial(journal.counts, directory),
            waker=Waker(channel.send),
            planner=self._planner,
            engines=self._engines,
            activity=Activity.open(activity_in(directory), boot.index),
        )
        self._directory = directory
        self._first = boot.generation == 1
        self._channel = channel
        self._application = application = kind(self._config, place)
        self._listeners = (
            Listener(ports.http, application.http_connection, place.http),
            Listener(ports.grpc, application.grpc_connection, place.grpc, application.grpc_tls),
        )
        self._closing = asyncio.Event()
        self._draining = asyncio.Event()
        self._listening: list[asyncio.Task[None]] = []

    async def live(self) -> ExitCode:
        """Serve until drained. Raises what is a bug in the application."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._draining.set)
        async with asyncio.TaskGroup() as self._tasks:
            orders = self._tasks.create_task(self._obey(), name="orders")
            background = self._tasks.create_task(self._run(), name="application")
            starting = self._tasks.create_task(self._start(), name="start")
            ordered = self._tasks.create_task(self._draining.wait(), name="drain ordered")
            await asyncio.wait({starting, ordered}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done() and (refusal := starting.result()):
                self._channel.send(Failed(refusal))
                await self._channel.flush()
                code = ExitCode.BOOT_FAILED
            else:
                await ordered
                starting.cancel()
                code = await self._end()
            self._closing.set()
            for task in (starting, ordered, orders, background):
                task.cancel()
        return code

    async def _start(self) -> str | None:
        """Returns why this replica cannot serve, or None when it does."""
        try:
            if self._first:
                self._open()
            await self._application.load()
            if not self._first:
                self._open()
        except ServingError as error:
            return str(error)
        self._channel.send(Ready())
        return None

    def _open(self) -> None:
        self._listening = [
            self._tasks.create_task(listener.run(self._closing), name="listener") for listener in self._listeners
        ]

    async def _end(self) -> ExitCode:
        if not self._listening:  # nothing was ever accepted
            return ExitCode.DRAINED
        self._channel.send(Draining())
        self._closing.set()
        await asyncio.gather(*self._listening)
        try:
            async with asyncio.timeout(self._config.drain_grace_s):
                await self._application.drain(self._config.drain_grace_s)
        except TimeoutError:
            return ExitCode.DRAIN_FAILED
        return ExitCode.DRAINED

    async def _obey(self) -> None:
        async for message in self._channel.messages():
            match message:
                case Drain():
                    self._draining.set()
                case Wanted() | Verdict() | Settle():
                    self._agreement.heard(message)
                case Edited():
                    self._editor.heard(message)
                case Planned():
                    self._planner.heard(message)
                case EngineUp() | EngineDown():
                    self._engines.heard(message)
                case _:
                    raise AssertionError(f"expected an order, got {message}")
        end_as_orphan(self._directory)

    async def _run(self) -> None:
        await self._application.run()
        raise RuntimeError("the application's run() returned; it must run until it is cancelled")
