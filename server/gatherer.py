"""What the data plane needs of a batcher, wherever it is: in this process (`batcher.batcher`) or in an engine."""

from __future__ import annotations

from typing import Protocol

from batcher.account import Account
from batcher.entry import Entry
from headrace.errors import Overloaded


class Accounting(Protocol):
    """See `batcher.account.Accounts`, which is one."""

    def close(self, entry: Entry) -> None:
        """Nobody wants to know any more."""
        ...


class Gatherer(Protocol):
    """See `batcher.batcher.Batcher`, which is one. Called from the event loop only."""

    @property
    def accounts(self) -> Accounting:
        """Of those entries that want to know where their time goes."""
        ...

    def submit(self, entry: Entry, timeout_s: float = 0.0, account: Account | None = None) -> None:
        """Queue an entry; its outcome, a refusal perhaps, is delivered later. Raises ServingError: it is not queued.

        An `account` says then where its time went.
        """
        ...

    def cancel(self, entry: Entry) -> None:
        """Its client went away."""
        ...

    def refuse_unread(self, timeout_s: float) -> Overloaded | None:
        """What `submit` would raise for any entry of the usual priority with this timeout; None: it depends."""
        ...

    async def close(self) -> None:
        """Nothing is under way and nothing follows."""
        ...
