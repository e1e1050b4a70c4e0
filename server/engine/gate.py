"""Lets runs through side by side, or one that may be dangerous all by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from headrace.executor import Executor
from headrace.requests import Array


class Gate:
    """Of one engine, for all its executors."""

    def __init__(self) -> None:
        self._running = 0
        self._idle = asyncio.Event()
        self._open = asyncio.Event()
        self._open.set()
        self._turn = asyncio.Lock()

    def watched(self, executor: Executor) -> Executor:
        """The same, whose runs go through the gate."""
        return _Watched(executor, self)

    async def enter(self) -> None:
        """Returns when nobody is, or waits to be, alone. Who enters leaves."""
        while not self._open.is_set():
            await self._open.wait()
        self._running += 1

    def leave(self) -> None:
        """A run that had entered is over."""
        self._running -= 1
        if not self._running:
            self._idle.set()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Nothing else runs within."""
        async with self._turn:
            self._open.clear()
            try:
                while self._running:
                    self._idle.clear()
                    await self._idle.wait()
                yield
            finally:
                self._open.set()


class _Watched:
    """A `headrace.executor.Executor`."""

    def __init__(self, executor: Executor, gate: Gate) -> None:
        self.slots = executor.slots
        self._executor = executor
        self._gate = gate

    async def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See `Executor`."""
        await self._gate.enter()
        try:
            return await self._executor.run(inputs)
        finally:
            self._gate.leave()

    async def close(self) -> None:
        """See `Executor`."""
        await self._executor.close()
