"""Will a request be answered in time, and who of those that wait will not be? Pure functions of a snapshot and a time.

Asked by `Outlook`, which keeps the snapshot, for requests with a deadline only. Seconds on the batcher's clock. Two
things make the difference between these and a plain sum of run times: while there is a backlog batches are full, and
who comes behind a request may still be in its batch and make it longer. And one makes goodput: who is late although it
was let in gives way to those behind it as long as they fill the batch, so that no batch is small for the sake of a few.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

Seconds = Callable[[int], float]
"""Of a batch, by its rows."""


def start(free: Sequence[float], ahead: int, rows: int, full: int, full_s: float) -> tuple[float, int]:
    """When the batch with the last of `rows` rows behind `ahead` others begins, and how many of these are in it.

    `free`: when each of the places for a batch is free, in order; those behind take `full` rows and `full_s` each.
    """
    before = max(0, ahead + rows - 1) // full
    laps, place = divmod(before, len(free))
    return free[place] + laps * full_s, ahead + rows - before * full


def form(now: float, front: Iterable[tuple[float, int]], waiting: int, take: int, seconds: Seconds) -> tuple[int, int]:
    """(rows of the next batch, how many of the first entries leave instead, as they would be late).

    `front`: deadline and rows of the entries in their order, `waiting` the rows of all, `take` what the batch would
    have. Who would be late in it leaves if those behind fill the batch, or if it would be late alone. Else the batch is
    made smaller for it.
    """
    leave = 0
    for due, rows in front:
        most = take if take < waiting else waiting
        if due >= now + seconds(most):
            break
        if waiting - rows < take and due >= now + seconds(rows):
            return most_in_time(due - now, rows, most, seconds), leave
        leave += 1
        waiting -= rows
    return take, leave


def most_in_time(left_s: float, low: int, high: int, seconds: Seconds) -> int:
    """The most rows from `low` to below `high` that take no longer than `left_s`; `low` at least."""
    while high - low > 1:
        middle = (low + high) // 2
        if seconds(middle) <= left_s:
            low = middle
        else:
            high = middle
    return low
