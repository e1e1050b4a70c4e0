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
    """All that a unit needs right before it, what has the longest way first."""
    makers: list[list[int]] = [[] for _ in work.names]
    for value in work.passing:
        if value.maker >= 0:
            for user in value.users:
                makers[user].append(value.maker)
    way: list[int] = []
    for found in makers:  # the units come in an order in which makers do first
        way.append(1 + max((way[maker] for maker in found), default=0))
    order: list[int] = []
    done: set[int] = set()
    for end in range(len(work)):
        waiting = [end]
        while waiting:
            unit = waiting[-1]
            missing = sorted((maker for maker in makers[unit] if maker not in done), key=way.__getitem__)
            if missing:
                waiting.append(missing[-1])
                continue
            waiting.pop()
            if unit not in done:
                done.add(unit)
                order.append(unit)
    return order


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
