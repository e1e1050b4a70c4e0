"""What every run of consecutive units would take as one stage: bytes held, bytes moved, seconds.

Receives a `Work`, hands one row of arrays per first unit to `plan`. All n^2 / 2 runs in n steps of numpy: what a step
changes is only what the unit makes and uses that the runs begin after. Pure. What a stage holds at most:

    weights + what it takes + max over its units u of (what was made up to u and is needed from u on, or given
                                                       + what u makes and uses itself)

What it takes is held to the end of the run, since its caller holds it. What others make that only passes it by is not
counted: it never comes to the device.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from executor.sharding.work import Work

Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]


class Row(NamedTuple):
    """The runs that begin with unit `first`; entry e is the run that ends with unit first + e."""

    first: int
    weights: Ints
    """Bytes."""
    shared: Ints
    """Bytes of weights that would be a loss to copy; part of `weights`."""
    peak: Ints
    """Bytes of values held at the same time, at most."""
    taken: Ints
    """Bytes that come from outside of the run."""
    given: Ints
    """Bytes that others need or that leave."""


def rows(work: Work) -> Iterator[Row]:
    """One row per unit, in order."""
    count = len(work)
    weights, shared, taken = (np.zeros(count + 1, np.int64) for _ in range(3))  # at the first user from here on
    held = np.zeros(count + 1, np.int64)
    held[:count] = work.scratch
    given = np.zeros(count + 2, np.int64)  # across the cut before this place
    made = defaultdict(list)
    used: dict[int, list[tuple[Ints, int, int]]] = defaultdict(list)  # place -> (at, next user, bytes)

    def enter(at: Ints, users: tuple[int, ...], size: int) -> None:
        at[users[0] if users else count] += size
        for user, following in zip(users, (*users[1:], count), strict=False):
            used[user].append((at, following, size))

    for weight in work.weights:
        enter(weights, weight.users, weight.bytes)
        if weight.is_shared:
            enter(shared, weight.users, weight.bytes)
    for value in work.passing:
        if value.maker < 0:
            enter(taken, value.users, value.bytes)
            continue
        last = max(value.users, default=value.maker)
        made[value.maker].append(value)
        held[value.maker : count if value.leaves else last + 1] += value.bytes
        given[value.maker + 1 : count + 1 if value.leaves else last + 1] += value.bytes
    for first in range(count):
        outside = np.cumsum(taken[first:count])
        yield Row(
            first,
            np.cumsum(weights[first:count]),
            np.cumsum(shared[first:count]),
            outside + np.maximum.accumulate(held[first:count]),
            outside,
            given[first + 1 : count + 1].copy(),
        )
        for at, following, size in used[first]:
            at[following] += size
        for value in made[first]:
            last = max(value.users, default=first)
            held[first : count if value.leaves else last + 1] -= value.bytes
            given[first + 1 : count + 1 if value.leaves else last + 1] -= value.bytes
            enter(taken, value.users, value.bytes)


def uncut(work: Work) -> NDArray[np.bool_]:
    """Per place whether no cut may come before it; that before the first and after the last unit are no cuts."""
    forbidden = np.zeros(len(work) + 1, np.bool_)
    for value in work.passing:
        if not value.may_cross and value.maker >= 0:
            forbidden[value.maker + 1 : max(value.users, default=value.maker) + 1] = True
    return forbidden


def crossing(work: Work) -> Ints:
    """Per place the bytes that units from there on take from units before: what a cut there lets through."""
    across = np.zeros(len(work) + 1, np.int64)
    for value in work.passing:
        if value.maker >= 0 and value.users:
            across[value.maker + 1 : value.users[-1] + 1] += value.bytes
    return across
