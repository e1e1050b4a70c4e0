"""Which instance a request for (model, version) gets: two dictionaries, one lookup each.

Kept by the manager, read by every request. Invariants: 1. A model in the table has at least one version. 2. The version
"" is the highest of those that are there; a model whose requests are split has no "" in the table, and a `Split`.
3. A label is a key like its version. 4. A model's entry is replaced whole, so no reader sees half a change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Generic

from headrace.models import ModelId
from model_repo.handle import Handle, S
from model_repo.refusal import number
from model_repo.routing import PLAIN, Routing, awaiting, pointed, shares
from model_repo.split import Split

HIGHEST = ""
"""The version of a request that leaves the choice to the server."""


class Routes(Generic[S]):
    """Where requests go. `table` is name -> version as text, or label -> handle, for the hot path to read."""

    def __init__(self) -> None:
        self.table: dict[str, dict[str, Handle[S]]] = {}
        self.splits: dict[str, Split[Handle[S]]] = {}
        self.routing: Mapping[str, Routing] = {}
        """By name, of the models that have one. `point` puts it into force."""

    def follow(self, routing: Mapping[str, Routing]) -> list[str]:
        """Take note. The names that are to be pointed anew."""
        before, self.routing = self.routing, routing
        return [name for name in {**before, **routing} if before.get(name) != routing.get(name)]

    def routing_of(self, name: str) -> Routing:
        """What is meant, whether it is in force or not."""
        return self.routing.get(name, PLAIN)

    def point(self, name: str, handles: Iterable[Handle[S]]) -> None:
        """From now on requests for `name` go to `handles` only; of two of one version, to the later one."""
        ready = {handle.spec.id.version: handle for handle in handles}
        before = self.splits.pop(name, None)
        if not ready:
            self.table.pop(name, None)
            return
        routing = self.routing_of(name)
        now = pointed(routing, ready, self.labels(name))
        routes = {str(version): handle for version, handle in ready.items()}
        routes |= {label: ready[version] for label, version in now.items()}
        split = {ready[version]: share for version, share in shares(routing, ready, now).items()}
        if len(split) > 1:
            self.splits[name] = Split(name, split, by_id=routing.by_id, at=before.at if before is not None else 0)
        else:
            (routes[HIGHEST],) = split
        self.table[name] = routes

    def find(self, name: str, version: str, sticky: str = "", request_id: str = "") -> Handle[S] | None:
        """For what is not in the table: the choice of a split, or a version that is written unusually ("007")."""
        if version:
            return self.table.get(name, {}).get(str(number(version)))
        split = self.splits.get(name)
        return split.choose(sticky or (request_id if split.by_id else "")) if split is not None else None

    def shown(self, name: str, version: str) -> Handle[S] | None:
        """Whose documents answer for `version`: of a split, which loses no turn, the highest version."""
        routes = self.table.get(name, {})
        if version or name not in self.splits:
            return routes.get(version) or routes.get(str(number(version)))
        return routes[str(self.versions(name)[-1])]

    def labels(self, name: str) -> dict[str, int]:
        """Label -> the version that it points to now."""
        routes = self.table.get(name, {})
        return {key: handle.spec.id.version for key, handle in routes.items() if key and not key.isdigit()}

    def held(self, name: str) -> set[int]:
        """Versions that a label would be lost with."""
        return awaiting(self.routing_of(name), self.labels(name))

    def versions(self, name: str) -> list[int]:
        """Versions of a model, ascending."""
        return sorted({handle.spec.id.version for handle in self.table.get(name, {}).values()})

    def servables(self) -> list[tuple[ModelId, S]]:
        """All servables, by name and version."""
        handles = {handle.spec.id: handle for routes in self.table.values() for handle in routes.values()}
        return [(id, handles[id].servable) for id in sorted(handles)]
