"""The queue of one model: entries in order of arrival, grouped by what may share a batch.

Receives entries from `Batcher.submit`, hands closed batches to its slots. Invariants: 1. `rows` is the sum over the
entries that are not done. 2. A batch holds entries of one group, oldest first, and no more rows than asked for.
3. Groups take turns, so no shape starves another. 4. Entries of a failed batch come back to the front of their group,
and a part that must run by itself does. Done entries (cancelled, expired) leave when a batch is formed, or
when there are many: clients that give up and try again must not fill the memory while no slot comes free.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence

from batcher.decide import Waiting
from batcher.entry import Entry

_MOST_DONE = 1000


class RowQueue:
    """Owned by one event loop; not thread-safe."""

    def __init__(self) -> None:
        self.rows = 0
        self._groups: dict[Hashable, deque[Entry]] = {}
        self._group_rows: dict[Hashable, int] = {}
        self._done = 0

    def append(self, entry: Entry) -> None:
        """Put an entry at the end of its group."""
        group = self._groups.get(entry.key)
        if group is None:
            group = self._groups[entry.key] = deque()
            self._group_rows[entry.key] = 0
        group.append(entry)
        entry.waiting = True
        self._group_rows[entry.key] += entry.rows
        self.rows += entry.rows

    def put_back(self, entries: Sequence[Entry]) -> None:
        """Put entries of one group, whose batch failed, in front of those that came later. Its turn is the last."""
        key = entries[0].key
        group = self._groups.setdefault(key, deque())
        older: deque[Entry] = deque()  # another slot's batch may have failed before
        while group and group[0].arrived < entries[-1].arrived:
            older.appendleft(group.popleft())
        group.extendleft(reversed(entries))
        group.extendleft(older)
        rows = 0
        for entry in entries:
            entry.waiting = True
            rows += entry.rows
        self._group_rows[key] = self._group_rows.get(key, 0) + rows
        self.rows += rows

    def runs_again(self, key: Hashable) -> bool:
        """Whether the front of this group, one of `groups()`, is part of a failed batch: it has waited already."""
        return self._groups[key][0].part is not None

    def abandon(self, entry: Entry) -> None:
        """Forget a waiting entry that has just become done: its rows count no longer, its tensors are free."""
        entry.waiting = False
        self._group_rows[entry.key] -= entry.rows
        self.rows -= entry.rows
        entry.inputs = {}
        self._done += 1
        if self._done > _MOST_DONE:
            self._sweep()

    def groups(self) -> list[tuple[Hashable, Waiting]]:
        """Each group with a live entry, in turn order. Drops what is done from the front."""
        if self._done:
            self._drop_done()
        return [(key, Waiting(self._group_rows[key], group[0].arrived)) for key, group in self._groups.items()]

    def take(self, key: Hashable, max_rows: int) -> list[Entry]:
        """Close a batch: the oldest entries of the group, or of its part in front, that fit into `max_rows` together.

        At least one.
        """
        group = self._groups[key]
        batch: list[Entry] = []
        rows = 0
        while group:
            entry = group[0]
            if not entry.done:
                if batch and (rows + entry.rows > max_rows or entry.part is not batch[0].part):
                    break
                entry.waiting = False
                batch.append(entry)
                rows += entry.rows
            else:
                self._done -= 1
            group.popleft()
        self.rows -= rows
        left = self._group_rows.pop(key) - rows
        del self._groups[key]
        if group:  # to the end of the line: other groups' turn
            self._groups[key] = group
            self._group_rows[key] = left
        return batch

    def _drop_done(self) -> None:
        for key, group in list(self._groups.items()):
            while group and group[0].done:
                group.popleft()
                self._done -= 1
            if not group:
                del self._groups[key], self._group_rows[key]

    def _sweep(self) -> None:
        for key, group in list(self._groups.items()):
            waiting = deque(entry for entry in group if not entry.done)
            if waiting:
                self._groups[key] = waiting
            else:
                del self._groups[key], self._group_rows[key]
        self._done = 0
