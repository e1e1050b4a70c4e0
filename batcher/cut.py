"""A request with more rows than a batch may have, run as several entries and put together again."""

from __future__ import annotations

from collections.abc import Callable

from batcher.assemble import concat
from batcher.entry import Entry, Outcome
from headrace.errors import ServingError
from headrace.requests import Array


class Piece(Entry):
    """Some consecutive rows of a large entry."""

    __slots__ = ("_index", "_whole")

    def __init__(self, whole: Rejoin, index: int, start: int, rows: int) -> None:
        entry = whole.entry
        inputs = {name: array[start : start + rows] for name, array in entry.inputs.items()}
        super().__init__(inputs, rows, entry.key, entry.arrived)
        self.rank = entry.rank
        self.due = entry.due
        self.bytes = entry.bytes * rows // max(entry.rows, 1)  # an even share
        self.length = entry.length
        self._whole = whole
        self._index = index

    def deliver(self, outcome: Outcome) -> None:
        """To the others."""
        self._whole.piece_done(self._index, outcome)


class Rejoin:
    """Waits for the outcomes of all pieces of `entry`, then finishes it: joined outputs, or the first error.

    `leave` takes the pieces that still wait out of the queue: after an error nobody wants them.
    """

    def __init__(self, entry: Entry, leave: Callable[[Entry], None]) -> None:
        self.entry = entry
        self._leave = leave
        self._outputs: list[dict[str, Array]] = []
        self._missing = 0

    def piece_done(self, index: int, outcome: Outcome) -> None:
        """Piece `index` has this outcome."""
        if isinstance(outcome, ServingError):
            self._leave(self.entry)
            self.entry.finish(outcome)
            return
        self._outputs[index] = outcome
        self._missing -= 1
        if not self._missing:
            self.entry.finish(dict(concat(self._outputs)))

    def cut(self, max_rows: int) -> list[Piece]:
        """The pieces, views on the entry's tensors, each of at most `max_rows` rows."""
        rows = self.entry.rows
        starts = range(0, rows, max_rows)
        self._outputs = [{}] * len(starts)
        self._missing = len(starts)
        return [Piece(self, index, start, min(max_rows, rows - start)) for index, start in enumerate(starts)]
