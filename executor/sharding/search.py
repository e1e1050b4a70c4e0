"""The best way to cut a line of units into runs, for any cost that adds up or whose largest counts.

Receives the rows of `spans`, devices by kind and what a run costs; hands ways to `plan`. Pure dynamic programming:
after the first i units, only which devices are used and the cost so far matter. One step of numpy per unit and state,
over all ends of the run that begins there.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from executor.sharding.spans import Floats, Row, rows, uncut
from executor.sharding.work import Work

State: TypeAlias = tuple[int, ...]
"""How many devices of each kind are used."""
Moves: TypeAlias = Mapping[State, Sequence[tuple[int, State]]]
"""State -> (kind of the next device, state then)."""


class Cost(NamedTuple):
    """One of the things that are to be least; of several, the first first."""

    of: Callable[[Row, int], Floats]
    """(runs with the same beginning, kind of device) -> cost of each."""
    join: np.ufunc
    """`np.add` or `np.maximum`: the cost of a way, and of one more run, as one."""


Allowed: TypeAlias = Callable[[Row, int], NDArray[np.bool_]]
"""(runs with the same beginning, kind of device) -> whether each may be there."""


class Step(NamedTuple):
    """Units `first` to `end` - 1 on a device of this kind."""

    kind: int
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Way:
    """A line cut into runs, and its costs in the order in which they were asked for."""

    costs: tuple[float, ...]
    steps: tuple[Step, ...]


def each_once(counts: Sequence[int]) -> Moves:
    """Any order of devices, so many of each kind."""
    states = itertools.product(*(range(count + 1) for count in counts))
    return {
        state: [
            (kind, (*state[:kind], used + 1, *state[kind + 1 :]))
            for kind, used in enumerate(state)
            if used < counts[kind]
        ]
        for state in states
    }


ENDLESS: Moves = {(0,): [(0, (0,))]}
"""As many devices of one kind as it takes."""


def ways(work: Work, moves: Moves, allowed: Allowed, costs: Sequence[Cost]) -> list[Way]:
    """The best way for each set of devices that will do, in the order of the states."""
    count, states = len(work), list(moves)
    tables = {state: _Table(len(costs), count) for state in states}
    tables[states[0]].least[:, 0] = 0
    stuck = uncut(work)
    for row in rows(work):
        if stuck[row.first]:
            continue
        here = [state for state in states if tables[state].least[0, row.first] < np.inf]
        for kind in {kind for state in here for kind, _ in moves[state]}:
            may = allowed(row, kind) & ~stuck[row.first + 1 :]
            prices = [cost.of(row, kind) for cost in costs]
            for state in here:
                paid = tables[state].least[:, row.first]
                joined = np.stack([cost.join(*each) for cost, *each in zip(costs, paid, prices, strict=True)])
                for after in (after for which, after in moves[state] if which == kind):
                    tables[after].improve(row.first, may, joined, kind, states.index(state))
    return [
        Way(tuple(map(float, table.least[:, count])), tuple(reversed(list(_steps(tables, states, state, count)))))
        for state, table in tables.items()
        if table.least[0, count] < np.inf
    ]


class _Table:
    """The best way to each place with one set of devices, and its last step."""

    def __init__(self, costs: int, count: int) -> None:
        self.least = np.full((costs, count + 1), np.inf)
        self.first, self.kind, self.state = (np.zeros(count + 1, np.int64) for _ in range(3))

    def improve(self, first: int, may: NDArray[np.bool_], joined: Floats, kind: int, state: int) -> None:
        better = first + 1 + np.flatnonzero(may & _less(joined, self.least[:, first + 1 :]))
        self.least[:, better] = joined[:, better - first - 1]
        self.first[better], self.kind[better], self.state[better] = first, kind, state


def _less(these: Floats, those: Floats) -> NDArray[np.bool_]:
    """Per column whether the first number that differs is less."""
    less, equal = np.zeros(these.shape[1], np.bool_), np.ones(these.shape[1], np.bool_)
    for this, that in zip(these, those, strict=True):
        less |= equal & (this < that)
        equal &= this == that
    return less


def _steps(tables: Mapping[State, _Table], states: Sequence[State], state: State, end: int) -> Iterator[Step]:
    """The last one first."""
    while end:
        table = tables[state]
        yield Step(int(table.kind[end]), int(table.first[end]), end)
        state, end = states[table.state[end]], int(table.first[end])
