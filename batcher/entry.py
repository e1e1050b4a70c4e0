"""One request as the queue sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterator, Mapping, Sequence
from math import inf
from typing import TypeAlias

from headrace.errors import ServingError
from headrace.requests import Array

Outcome: TypeAlias = dict[str, Array] | ServingError
"""What becomes of an entry: output name -> array with the entry's own rows, or why not."""


class Part:
    """The mark of entries that run again with each other and with nobody else."""

    __slots__ = ("halves",)

    def __init__(self, halves: Iterator[bool]) -> None:
        self.halves = halves
        """Shared by all parts of a batch: true as many times as a part that fails is to be halved. See `blame`."""


class Entry:
    """Inputs waiting for their batch. Subclasses say in `deliver` whom the outcome goes to.

    Only entries with the same `key` may share a batch. `client` is what the front end takes for one; 0: unknown.
    `rows` is the common length of axis 0, 1 for an unbatched model. `arrived` is on the batcher's clock, in
    seconds. `waiting` is true while a queue holds it. `done` is set by the first of delivered, expired, cancelled;
    whoever finds it set leaves the entry alone. `pieces` are the entries that are queued in its stead if it has too
    many rows for one batch. `part` says with whom it runs again after a batch of its failed: with entries of the
    same part only. Among entries with one key the lowest `rank` runs first; it is the time of arrival, later by what
    the priority puts it off. After `due`, on the same clock, its answer is of no use; infinite without a deadline.
    `bytes` are those of its tensors, as the queue counts them while it waits. `length` is that of its padded inputs, 0
    if it is not to be padded; where nothing is padded and rows differ, how many elements one has.
    """

    __slots__ = (
        "arrived", "bytes", "client", "done", "due", "inputs", "key", "length", "part", "pieces", "rank", "rows",
        "timer", "waiting",
    )  # fmt: skip

    def __init__(self, inputs: Mapping[str, Array], rows: int, key: Hashable, arrived: float, client: int = 0) -> None:
        self.inputs = inputs
        self.rows = rows
        self.key = key
        self.arrived = self.rank = arrived
        self.client = client
        self.due = inf
        self.bytes = 0
        self.length = 0
        self.waiting = False
        self.done = False
        self.pieces: Sequence[Entry] = ()
        self.part: Part | None = None
        self.timer: asyncio.TimerHandle | None = None

    def deliver(self, outcome: Outcome) -> None:
        """Called once, on the event loop, with what became of it; never if it was cancelled."""
        raise NotImplementedError

    def finish(self, outcome: Outcome) -> None:
        """Deliver `outcome` unless it is done already."""
        if not self.done:
            self.done = True
            if self.timer is not None:
                self.timer.cancel()
            self.deliver(outcome)
