"""How many of the waiting rows make a batch: a table by the rows that wait, made from the seconds that batches take.

Pure. Three things are in it: a batch has at most the rows that pay; where the curve has steps, rows that would open a
new step for a few are left behind; and however small the batches, a backlog makes them grow, so that no plan can be
too small for a load that nobody has seen yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

GROWTH = 1.05
WORSE = 1.1


def best_rows(seconds: Sequence[float]) -> int:
    """The batch with the most rows per second, the smallest of equals. `seconds[rows]`, from 1."""
    return max(range(1, len(seconds)), key=lambda rows: (rows / seconds[rows], -rows))


def largest_good(known: Sequence[tuple[int, float]]) -> int:
    """Of some (rows, seconds) the most rows whose rate is not lower than the best one by more than `WORSE`."""
    least = max(rows / seconds for rows, seconds in known) / WORSE
    return max(rows for rows, seconds in known if rows / seconds >= least)


def most_worth(known: Sequence[tuple[int, float]], most: int) -> int:
    """Of (rows, seconds) the most rows with a good rate; `most` if that is as far as is known."""
    good = largest_good(known) if known else most
    return good if any(rows > good for rows, _ in known) else most


def most_in_flight(slowdown: Sequence[float]) -> int:
    """The fewest batches in flight with a rate not lower than the best one by more than `WORSE`. See `Picture`."""
    rates = [k / slowdown[k] for k in range(1, len(slowdown))]
    return next(k for k, rate in enumerate(rates, 1) if rate >= max(rates) / WORSE)


@lru_cache(maxsize=128)
def sizes(seconds: tuple[float, ...], most_rows: int, round_down: float, backlog: int) -> tuple[int, ...]:
    """`sizes[n]`: rows to take if n wait. From n = 0, which takes none.

    All up to `most_rows`, but a smaller batch whose rate (rows per second) is higher by more than 1/`round_down` is
    preferred; 0 never prefers one. If more than `backlog` times `most_rows` wait, and larger batches serve at
    a rate that is higher by more than `GROWTH`, the best size up to the `backlog`th part of those who wait.
    """
    taken = [0]
    best, best_rate = 1, 0.0
    for rows in range(1, most_rows + 1):
        rate = rows / seconds[rows]
        if rate >= best_rate:
            best, best_rate = rows, rate
        taken.append(best if rate < round_down * best_rate else rows)
    top = best_rows(seconds)
    if top <= most_rows or top / seconds[top] < GROWTH * best_rate:
        return tuple(taken)
    for share in range((most_rows + 1) // backlog, top + 1):
        if share > best and share > most_rows and share / seconds[share] >= best_rate:
            best, best_rate = share, share / seconds[share]
        end = min(backlog * (share + 1), backlog * top + 1)
        taken += [max(most_rows, best)] * (end - len(taken))
    return tuple(taken)
