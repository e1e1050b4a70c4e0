"""How requests for a model choose among its versions: labels, and shares of those that name none. Pure.

Made by `scan` from `config.yaml`, carried beside the wanted set to the manager, whose `Routes` apply it. It changes
without a version being loaded again. Invariants: 1. It says what is meant; what is READY now is given to `pointed` and
`shares`. 2. A label goes on pointing to its last version until the one that it names is READY. 3. What cannot serve
now gets no share.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

STABLE = "stable"
"""The label that gets what `shares` leave."""
_ALL = 100.0
_DIGITS = 9


@dataclass(frozen=True, slots=True)
class Routing:
    """`labels`: label -> version. `traffic`: label or version as text -> percent. `by_id`: an id is a key."""

    labels: Mapping[str, int] = field(default_factory=dict)
    traffic: Mapping[str, float] = field(default_factory=dict)
    by_id: bool = False


PLAIN = Routing()
"""Every request that names no version gets the highest."""


def pointed(routing: Routing, ready: Collection[int], before: Mapping[str, int]) -> dict[str, int]:
    """Label -> the READY version that it points to. `before` is where labels pointed until now."""
    now = {}
    for label, named in routing.labels.items():
        version = named if named in ready else before.get(label)
        if version is not None and version in ready:
            now[label] = version
    return now


def awaiting(routing: Routing, now: Mapping[str, int]) -> set[int]:
    """The versions to which a label points because the one that it names is not READY: it would be lost with them."""
    return {version for label, version in now.items() if routing.labels.get(label, version) != version}


def shares(routing: Routing, ready: Collection[int], now: Mapping[str, int]) -> dict[int, float]:
    """READY version -> its share of the requests that name none, in any unit; `now` as from `pointed`.

    In the order in which they are to lie beside each other: those that are named at both ends, what is left to the
    rest in the middle. So a share that grows takes from the rest, and of more than two from its neighbour as well.
    """
    if not routing.traffic:
        return {max(ready): _ALL}
    places = {key: now.get(key, 0) if key in routing.labels else int(key) for key in routing.traffic}
    live = [(version, routing.traffic[key]) for key, version in places.items() if version in ready]
    rest = [(version, round(_ALL - sum(routing.traffic.values()), _DIGITS)) for version in _heir(routing, ready, now)]
    found: dict[int, float] = {}
    for version, share in (*live[::2], *rest, *live[1::2][::-1]):
        if share > 0:
            found[version] = found.get(version, 0.0) + share
    return found or {max(ready): _ALL}


def _heir(routing: Routing, ready: Collection[int], now: Mapping[str, int]) -> list[int]:
    """Who gets what `traffic` leaves: at most one."""
    if STABLE in routing.labels and STABLE not in routing.traffic:
        return [now[STABLE]] if STABLE in now else []
    named = {routing.labels.get(key) or int(key) for key in routing.traffic}
    others = set(ready) - named - {now[key] for key in routing.traffic if key in now}
    return [max(others)] if others else []
