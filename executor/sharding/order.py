"""Orders of units in which few bytes are alive at the places where one may cut.

Receives `Work`, hands orders to whoever plans each and takes the best: to find the best order is as hard as it sounds,
and which of these is better depends on the graph. All are topological; the one of the file is among them. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from executor.sharding.work import Passing, Work


def orders(work: Work) -> Iterator[list[int]]:
    """Each once: as in the file, one branch after the other, and whatever keeps the fewest bytes alive."""
    seen = []
    for order in (list(range(len(work))), _branch_by_branch(work), _least_alive(work)):
        if order not in seen:
            seen.append(order)
            yield order


def _branch_by_branch(work: Work) -> list[int]:
    """All that a unit needs right before it."""
    makers: list[set[int]] = [set() for _ in work.names]
    for value in work.passing:
        for user in value.users if value.maker >= 0 else ():
            makers[user].add(value.maker)
    done: dict[int, None] = {}
    for end in range(len(work)):
        waiting = [end]
        while waiting:
            missing = makers[waiting[-1]].difference(done)
            if missing:
                waiting.append(max(missing))
            else:
                done[waiting.pop()] = None
    return list(done)


def _least_alive(work: Work) -> list[int]:
    """Always the unit that frees most, or adds least; of equals the one that was possible last."""
    makes: list[list[Passing]] = [[] for _ in work.names]
    takes: list[list[Passing]] = [[] for _ in work.names]
    for value in work.passing:
        if value.maker >= 0:
            makes[value.maker].append(value)
            for user in value.users:
                takes[user].append(value)
    missing = [len({value.maker for value in values}) for values in takes]
    wanted = {value.name: len(value.users) for value in work.passing}
    ready = [unit for unit, count in enumerate(missing) if not count][::-1]
    order: list[int] = []
    while ready:

        def adds(unit: int) -> int:
            freed = sum(value.bytes for value in takes[unit] if wanted[value.name] == 1)
            return sum(value.bytes for value in makes[unit] if value.users) - freed

        at = min(range(len(ready)), key=lambda at: (adds(ready[at]), -at))
        unit = ready.pop(at)
        order.append(unit)
        for value in takes[unit]:
            wanted[value.name] -= 1
        enabled = []
        for user in {user for value in makes[unit] for user in value.users}:
            missing[user] -= 1
            if not missing[user]:
                enabled.append(user)
        ready.extend(sorted(enabled, reverse=True))
    return order
