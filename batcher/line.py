"""Entries that may share a batch, in the order in which they run: the one with the lowest rank first.

Owned by a `RowQueue`. Invariants: 1. `rows` is the sum over the entries that are not done. 2. Of the same priority who
came first goes first. 3. Entries of a failed batch go before all others, one part after the other.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import TypeAlias

from batcher.entry import Entry

Choose: TypeAlias = Callable[[Sequence[Entry], int], Sequence[Entry]]
"""Of these entries, in order, those that make a batch of at most so many rows; the first is one of them."""

CHOICE = 128
"""Entries from which a batch is chosen."""

_rank = attrgetter("rank")


class Line:
    """The waiting entries of one key. Some may be done already: they leave when they come to the front."""

    __slots__ = ("_again", "_entries", "rows")

    def __init__(self) -> None:
        self.rows = 0
        self._entries: deque[Entry] = deque()
        self._again: deque[Entry] = deque()
        """Those of failed batches, by arrival."""

    def __len__(self) -> int:
        return len(self._entries) + len(self._again)

    @property
    def first(self) -> Entry:
        """Whose turn it is. There is one."""
        return self._again[0] if self._again else self._entries[0]

    def live(self) -> Iterator[Entry]:
        """Those who are not done, in their order."""
        return (entry for entries in (self._again, self._entries) for entry in entries if not entry.done)

    def rows_before(self, rank: float) -> int:
        """Rows that run before one of this rank that comes now."""
        rows = sum([entry.rows for entry in self._again if not entry.done])
        for entry in self._entries:
            if entry.rank > rank:
                break
            if not entry.done:
                rows += entry.rows
        return rows

    def join(self, entry: Entry) -> None:
        """In front of all with a higher rank."""
        entries = self._entries
        if not entries or entries[-1].rank <= entry.rank:
            entries.append(entry)
        else:
            insort(entries, entry, key=_rank)
        self.rows += entry.rows

    def put_back(self, batch: Sequence[Entry]) -> None:
        """Entries of a failed batch, in their order; another one, of older entries, may have failed before."""
        again, older = self._again, deque[Entry]()
        while again and again[0].arrived < batch[-1].arrived:
            older.appendleft(again.popleft())
        again.extendleft(reversed(batch))
        again.extendleft(older)
        self.rows += sum([entry.rows for entry in batch])

    def take(self, max_rows: int, choose: Choose | None = None) -> tuple[list[Entry], int]:
        """The first entries that fit into `max_rows` together, at least one; and how many done ones left with them.

        Of a part that runs again, no others; else with `choose`, what it chooses.
        """
        if choose is not None and not self._again:
            return self._chosen(max_rows, choose)
        entries = self._again or self._entries
        batch: list[Entry] = []
        rows = done = 0
        while entries:
            entry = entries[0]
            if not entry.done:
                if batch and (rows + entry.rows > max_rows or entry.part is not batch[0].part):
                    break
                entry.waiting = False
                batch.append(entry)
                rows += entry.rows
            else:
                done += 1
            entries.popleft()
        self.rows -= rows
        return batch, done

    def _chosen(self, max_rows: int, choose: Choose) -> tuple[list[Entry], int]:
        entries = self._entries
        looked_at: list[Entry] = []
        done = 0
        while entries and len(looked_at) < CHOICE:
            entry = entries.popleft()
            if entry.done:
                done += 1
            else:
                looked_at.append(entry)
        batch = list(choose(looked_at, max_rows))
        for entry in batch:
            entry.waiting = False
            self.rows -= entry.rows
        entries.extendleft([entry for entry in reversed(looked_at) if entry.waiting])
        return batch, done

    def drop_done(self) -> int:
        """Those in front that are done leave. Returns how many."""
        done = 0
        for entries in (self._again, self._entries):
            while entries and entries[0].done:
                entries.popleft()
                done += 1
        return done

    def sweep(self) -> None:
        """All that are done leave."""
        self._again = deque(entry for entry in self._again if not entry.done)
        self._entries = deque(entry for entry in self._entries if not entry.done)
