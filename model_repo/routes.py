"""Which instance a request for (model, version) gets: two dictionaries, one lookup each.

Kept by the manager, read by every request. Invariants: 1. A model in the table has at least one version. 2. The version
"" is the highest of those that are there. 3. A model's entry is replaced whole, so no reader sees half a change.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic

from headrace.models import ModelId
from model_repo.handle import Handle, S

HIGHEST = ""
"""The version of a request that leaves the choice to the server."""


class Routes(Generic[S]):
    """Where requests go. `table` is name -> version as text -> handle, for the hot path to read."""

    def __init__(self) -> None:
        self.table: dict[str, dict[str, Handle[S]]] = {}

    def point(self, name: str, handles: Iterable[Handle[S]]) -> None:
        """From now on requests for `name` go to `handles` only; of two of one version, to the later one."""
        routes = {str(handle.spec.id.version): handle for handle in handles}
        if routes:
            routes[HIGHEST] = max(routes.values(), key=lambda handle: handle.spec.id.version)
            self.table[name] = routes
        else:
            self.table.pop(name, None)

    def versions(self, name: str) -> list[int]:
        """Versions of a model, ascending."""
        return sorted(int(version) for version in self.table.get(name, ()) if version != HIGHEST)

    def servables(self) -> list[tuple[ModelId, S]]:
        """All servables, by name and version."""
        handles = (handle for routes in self.table.values() for key, handle in routes.items() if key != HIGHEST)
        return sorted(((handle.spec.id, handle.servable) for handle in handles), key=lambda pair: pair[0])
