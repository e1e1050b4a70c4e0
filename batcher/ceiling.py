"""How many rows a batch may have for there to be memory enough, learnt from the runs that had too little.

Told by the batcher which runs failed for want of memory and, while the ceiling is lowered, which succeeded. Pure: the
time is passed in. A failure lowers it to half of what failed. After `FIRST_HOLD_S` without one it grows by a quarter at
a time, each with its own wait, which doubles as often as growing was wrong in a row. A request that fails alone, with
one row, may be the one that asks for too much: if others run, the ceiling is where it was before. One ceiling for all
shapes.
"""

from __future__ import annotations

FIRST_HOLD_S = 30.0
LONGEST_HOLD_S = 1800.0


class Ceiling:
    """`rows` is the most that a batch may have now, between 1 and `most`."""

    __slots__ = ("_alone", "_before", "_good", "_held_until", "_hold_s", "_most", "rows")

    def __init__(self, most: int) -> None:
        self.rows = self._most = self._before = most
        self._good = 0
        """The ceiling before it last grew, until a failure: such batches have run."""
        self._hold_s = FIRST_HOLD_S
        self._held_until = 0.0
        self._alone = False

    @property
    def lowered(self) -> bool:
        """Whether it is below what is configured."""
        return self.rows < self._most

    def failed(self, rows: int, now: float) -> None:
        """There was too little memory for a run of `rows` rows."""
        if rows <= 1:
            self._alone = self.lowered
            return
        if now >= self._held_until:
            self._before = self.rows
        self._alone = False
        if self._good:
            self._hold_s = min(2 * self._hold_s, LONGEST_HOLD_S)
        self.rows = min(self.rows, self._good if 0 < self._good < rows else rows // 2)
        self._good = 0
        self._held_until = now + self._hold_s

    def ran(self, rows: int, now: float) -> None:
        """A run of `rows` rows has succeeded."""
        if self._alone:
            self._alone = False
            self.rows = self._before
        elif now >= self._held_until and 2 * rows > self.rows:
            if self._good:  # growing has been right, and for as long as it had to be
                self._hold_s = FIRST_HOLD_S
            self._good = self.rows
            self.rows = min(self.rows + max(1, self.rows // 4), self._most)
            self._held_until = now + self._hold_s
        if not self.lowered:
            self._hold_s, self._good = FIRST_HOLD_S, 0
