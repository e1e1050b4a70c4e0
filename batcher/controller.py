"""The seam between the batcher's loop and what decides: `Adaptive` learns, `Timer` does as other servers do."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Protocol

from batcher.decide import Dispatch, WaitUntil


class Controller(Protocol):
    """What decides, and hears of everything that happens. Times are on one clock, in seconds; `client` 0: unknown.

    `listens`: whether `arrived` must be called, and `clients` be given. `cut_rows`: a request with more rows than these
    is better off in several batches.
    """

    listens: bool
    cut_rows: int

    def arrived(self, now: float, rows: int, client: int, key: Hashable = ()) -> None:
        """A request is in the queue. Those with the same key may share a batch."""
        ...

    def decide(self, now: float, rows: int, oldest: float, running: int, key: Hashable = ()) -> Dispatch | WaitUntil:
        """What to do with `rows` waiting rows of one key, the oldest since `oldest`, while `running` batches run."""
        ...

    def started(self, now: float, rows: int, running: int) -> None:
        """A batch has been closed; `running` are in flight with it."""
        ...

    def finished(
        self, now: float, rows: int, seconds: float, running: float, clients: Sequence[int], key: Hashable = ()
    ) -> None:
        """A batch of one key took `seconds`; on average `running` were in flight with it. `clients` have answers."""
        ...
