"""Which lengths share a batch: all that waits is divided into batches that take the least time together.

A pure function of what waits and of what a batch costs by rows and padded length (`costs`). Batches hold neighbouring
lengths. Considered instead: the batch that costs the least per row; it fills up on short rows, padded to great lengths,
and was slower than not to pad at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, inf

from batcher.costs import Terms


def company(groups: Sequence[tuple[int, int]], length: int, most_rows: int, terms: Terms) -> tuple[int, int]:
    """The shortest and the longest length of the batch in which `length` is.

    `groups`: each length that waits, ascending, and its rows; `length` is one of them. No batch of several lengths has
    more than `most_rows` rows.
    """
    run = terms.run
    units = [terms.row_s(each) for each, _ in groups]
    best = [0.0]
    """By groups that are divided, the first so many: the least seconds ..."""
    starts: list[int] = []
    """... and where the last batch begins then."""
    for end, unit in enumerate(units):
        least, begins, rows = inf, end, 0
        for start in range(end, -1, -1):
            more = groups[start][1]
            rows += more
            if start < end and (rows > most_rows or (unit - units[start]) * more > run):
                break  # what the shortest lose by this length alone is more than a batch of their own costs
            runs = ceil(rows / most_rows) if start == end else 1
            seconds = best[start] + run * runs + unit * rows
            if seconds <= least:
                least, begins = seconds, start
        best.append(least)
        starts.append(begins)
    end = len(groups) - 1
    while groups[starts[end]][0] > length:
        end = starts[end] - 1
    return groups[starts[end]][0], groups[end][0]
