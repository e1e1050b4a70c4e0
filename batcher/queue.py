"""The queue of one model: a line for each kind of entries that may share a batch.

Receives entries from `Batcher.submit`, hands closed batches to its slots. Invariants: 1. `rows` and `bytes` are sums
over the entries that are not done. 2. A batch holds entries of one line, in its order, and no more rows than asked for.
3. The line whose first entry has the lowest rank is asked first, so that no shape starves another; what runs again has
its turn after all that wait. Done entries (cancelled, expired) leave when a batch is formed, or when there are many:
clients that give up and try again must not fill the memory while no slot comes free.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

from batcher.decide import Waiting
from batcher.entry import Entry
from batcher.line import Choose, Line

_MOST_DONE = 1000


class RowQueue:
    """Owned by one event loop; not thread-safe."""

    def __init__(self) -> None:
        self.rows = 0
        self.bytes = 0
        """Of tensors."""
        self._lines: dict[Hashable, Line] = {}
        self._done = 0
        self._last = 0.0
        """The highest rank so far."""

    @property
    def lines(self) -> int:
        """How many kinds of entries wait, as of the last `groups()`."""
        return len(self._lines)

    def append(self, entry: Entry) -> None:
        """Put an entry into its line."""
        line = self._lines.get(entry.key)
        if line is None:
            line = self._lines[entry.key] = Line()
        line.join(entry)
        entry.waiting = True
        self.rows += entry.rows
        self.bytes += entry.bytes
        self._last = max(self._last, entry.rank)

    def put_back(self, entries: Sequence[Entry]) -> None:
        """Put entries of one line, whose batch failed, in front of it."""
        line = self._lines.setdefault(entries[0].key, Line())
        before = line.rows
        line.put_back(entries)
        for entry in entries:
            entry.waiting = True
            entry.rank = self._last
            self.bytes += entry.bytes
        self.rows += line.rows - before

    def runs_again(self, key: Hashable) -> bool:
        """Whether the front of this line, one of `groups()`, is part of a failed batch: it has waited already."""
        return self._lines[key].first.part is not None

    def later_s(self, key: Hashable) -> float:
        """By how much who is next in this line, one of `groups()`, counts as come later than it did."""
        first = self._lines[key].first
        return first.rank - first.arrived

    def abandon(self, entry: Entry) -> None:
        """Forget a waiting entry that has just become done: its rows count no longer, its tensors are free."""
        entry.waiting = False
        self._lines[entry.key].rows -= entry.rows
        self.rows -= entry.rows
        self.bytes -= entry.bytes
        entry.inputs = {}
        self._done += 1
        if self._done > _MOST_DONE:
            for line in self._lines.values():
                line.sweep()
            self._done = 0
            self._drop_empty()

    def groups(self) -> list[tuple[Hashable, Waiting]]:
        """Each key with a live entry: its rows, and the arrival of the first; the lowest rank first."""
        lines = self._lines
        if self._done:
            for line in lines.values():
                self._done -= line.drop_done()
            self._drop_empty()
        found = [(key, Waiting(line.rows, line.first.arrived)) for key, line in lines.items()]
        if len(found) > 1:
            found.sort(key=lambda pair: lines[pair[0]].first.rank)
        return found

    def rows_before(self, rank: float) -> int:
        """Rows that run before one of this rank that comes now. For urgent ones: others come after all who wait."""
        return sum([line.rows_before(rank) for line in self._lines.values()])

    def front(self, key: Hashable) -> Iterator[Entry]:
        """The live entries of a line in the order in which they run; none if there is no such line."""
        line = self._lines.get(key)
        return line.live() if line is not None else iter(())

    def take(self, key: Hashable, max_rows: int, choose: Choose | None = None) -> list[Entry]:
        """Close a batch: the first entries of the line that fit into `max_rows` together; at least one.

        `choose` takes others than the first ones.
        """
        line = self._lines.pop(key)
        before = line.rows
        batch, done = line.take(max_rows, choose)
        self.rows -= before - line.rows
        self.bytes -= sum([entry.bytes for entry in batch])
        self._done -= done
        if line:
            self._lines[key] = line  # behind those of the same rank
        return batch

    def _drop_empty(self) -> None:
        for key in [key for key, line in self._lines.items() if not line]:
            del self._lines[key]
