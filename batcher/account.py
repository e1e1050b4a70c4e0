"""What the batcher did with those requests that want to know: why their batch was closed, who shared it, what it took.

`Batcher` writes into the accounts it was given as their requests go on; who gave one reads it when the outcome is
delivered, and closes it. Nobody else pays more than the question whether there is any.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from batcher.decide import Reason
from batcher.entry import Entry


class Account(msgspec.Struct):
    """One request's. Times on the batcher's clock, in seconds; of the last of its batches to end if it was cut."""

    batches: int = 0
    reason: Reason = "at_once"
    rows: int = 0
    """Of the whole batch."""
    requests: int = 0
    """In the batch, this one included."""
    running: int = 0
    """Batches in flight when it was closed, itself included."""
    began: float = 0.0
    assembled: float = 0.0
    ran: float = 0.0
    split: float = 0.0

    def ran_alone(self, batches: int, rows: int, began: float, now: float) -> None:
        """Its request was kept from the batcher."""
        self.batches, self.rows, self.requests, self.running = batches, rows, 1, 1
        self.began = self.assembled = began
        self.ran = self.split = now


class _Closed(msgspec.Struct):
    """An entry's batch, which is under way."""

    account: Account
    reason: Reason = "at_once"
    running: int = 0


class Accounts:
    """The open accounts of one batcher. `closed` and `ran` need only be told of batches while there are `entries`."""

    def __init__(self) -> None:
        self.entries: dict[Entry, _Closed] = {}

    def open(self, entry: Entry, account: Account) -> None:
        """Write into `account` what becomes of `entry`, which is queued, until `close`."""
        for each in entry.pieces or (entry,):
            self.entries[each] = _Closed(account)

    def close(self, entry: Entry) -> None:
        """Nobody wants to know any more."""
        for each in (entry, *entry.pieces):
            self.entries.pop(each, None)

    def closed(self, batch: Sequence[Entry], reason: Reason, running: int) -> None:
        """These entries are a batch now; `running` are in flight with it."""
        for entry in batch:
            closed = self.entries.get(entry)
            if closed is not None:
                closed.reason, closed.running = reason, running

    def ran(self, batch: Sequence[Entry], began: float, assemble_s: float, run_s: float, split_s: float) -> None:
        """The batch, taken up at `began`, is through and about to be delivered."""
        rows = sum(entry.rows for entry in batch)
        for entry in batch:
            closed = self.entries.get(entry)
            if closed is not None:
                account = closed.account
                account.batches += 1
                account.reason, account.running = closed.reason, closed.running
                account.rows, account.requests = rows, len(batch)
                account.began = began
                account.assembled = began + assemble_s
                account.ran = account.assembled + run_s
                account.split = account.ran + split_s
