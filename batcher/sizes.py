"""How many of the waiting rows make a batch: a table by the rows that wait, made from the seconds that batches take.

Pure. Three things are in it: a batch has at most the rows that pay; where the curve has steps, rows that would open a
new step for a few are left behind; and however small the batches, a backlog makes them grow, so that no plan can be
too small for a load that nobody has seen yet.
"""

from __future__ import annotations

from collections.abc import Sequence

BACKLOG = 4
"""Batches' worth of waiting rows past which batches grow beyond `most_rows`."""


def best_rows(seconds: Sequence[float]) -> int:
    """The batch with the most rows per second, the smallest of equals. `seconds[rows]`, from 1."""
    return max(range(1, len(seconds)), key=lambda rows: (rows / seconds[rows], -rows))


def sizes(seconds: Sequence[float], most_rows: int, round_down: float) -> tuple[int, ...]:
    """`sizes[n]`: rows to take if n wait. From n = 0, which takes none.

    All up to `most_rows`, but a smaller batch whose rate (rows per second) is higher by more than 1/`round_down` is
    preferred; 0 never prefers one. Past `BACKLOG` x `most_rows`, a share of what waits, up to `best_rows`.
    """
    taken = [0]
    best, best_rate = 1, 0.0
    for rows in range(1, most_rows + 1):
        rate = rows / seconds[rows]
        if rate >= best_rate:
            best, best_rate = rows, rate
        taken.append(best if rate < round_down * best_rate else rows)
    top = best_rows(seconds)
    if most_rows < top:
        taken += [max(most_rows, waiting // BACKLOG) for waiting in range(most_rows + 1, top * BACKLOG + 1)]
    return tuple(taken)
