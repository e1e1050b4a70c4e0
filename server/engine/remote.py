"""A version that an engine runs, as a replica has it: the faces of a batcher and an executor, over `client.Engine`."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from typing import Any

import msgspec

from batcher.account import Account
from batcher.entry import Entry, Outcome
from headrace.errors import Overloaded, ServingError
from headrace.models import ModelMetadata
from headrace.requests import Array
from server.core import nothing
from server.engine.client import Engine


class RemoteCore:
    """See `server.core.Core`, which is the same thing in this process."""

    def __init__(
        self,
        engine: Engine,
        number: int,
        metadata: ModelMetadata,
        providers: tuple[str, ...],
        max_batch_rows: int,
        slots: int,
    ) -> None:
        self._engine = engine
        self._number = number
        self.metadata = metadata
        self.providers = providers
        self.max_batch_rows = max_batch_rows
        self.unloaded = nothing
        self.batcher = RemoteBatcher(engine, number)
        self.executor = RemoteExecutor(self.batcher, slots, batchable=metadata.batchable)

    async def describe(self, recording: bool) -> dict[str, Any]:
        """See `Core`."""
        document: dict[str, Any] = msgspec.json.decode(await self._engine.ask(self._number, recording=recording))
        return {"engine": self._engine.name, **document}


class RemoteAccounts:
    """See `batcher.account.Accounts`."""

    def close(self, entry: Entry) -> None:
        """Nothing is kept."""


class RemoteBatcher:
    """A `Gatherer`. Who would be late or finds the queue full hears of it later, as an outcome."""

    def __init__(self, engine: Engine, number: int) -> None:
        self._engine = engine
        self._number = number
        self.accounts = RemoteAccounts()

    def submit(self, entry: Entry, timeout_s: float = 0.0, account: Account | None = None) -> None:
        """See `Gatherer`."""
        self._engine.run(self._number, entry, timeout_s, account)

    def cancel(self, entry: Entry) -> None:
        """See `Gatherer`."""
        if not entry.done:
            entry.done = True
            self._engine.cancel(entry)

    def refuse_unread(self, timeout_s: float) -> Overloaded | None:
        """Only the engine could say."""
        return None

    async def close(self) -> None:
        """See `Gatherer`."""
        self._engine.unload(self._number)


class _Lone(Entry):
    """An entry whose outcome is awaited."""

    __slots__ = ("outcome",)

    _keys = itertools.count()

    def __init__(self, inputs: Mapping[str, Array], rows: int) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(inputs, rows, ("lone", next(self._keys)), loop.time())
        self.outcome: asyncio.Future[Outcome] = loop.create_future()

    def deliver(self, outcome: Outcome) -> None:
        """See `Entry`."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)


class RemoteExecutor:
    """A `headrace.executor.Executor`: one run at a time, in a batch of its own. For warm-ups and rehearsals."""

    def __init__(self, batcher: RemoteBatcher, slots: int, *, batchable: bool) -> None:
        self.slots = slots
        self._batcher = batcher
        self._batchable = batchable

    async def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See `Executor`."""
        entry = _Lone(inputs, len(next(iter(inputs.values()))) if self._batchable else 1)
        self._batcher.submit(entry)
        try:
            outcome = await entry.outcome
        finally:
            self._batcher.cancel(entry)
        if isinstance(outcome, ServingError):
            raise outcome
        return outcome

    async def close(self) -> None:
        """The batcher has said it."""
