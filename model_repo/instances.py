"""The instances of all models, each as the handle on it: made when a load begins, gone when it is forgotten.

The manager's own; nothing here decides or waits. Invariants: 1. A model that is in it has an instance. 2. Of one model
they stand in the order in which they were made.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic

from model_repo.handle import Handle, S
from model_repo.spec import VersionSpec
from model_repo.states import State


class Instances(Generic[S]):
    """By model. Truthy while there are any."""

    def __init__(self) -> None:
        self._by_name: dict[str, list[Handle[S]]] = {}
        self._serials = 0

    def __bool__(self) -> bool:
        return bool(self._by_name)

    def __iter__(self) -> Iterator[str]:
        """Names of the models."""
        return iter(self._by_name)

    def of(self, name: str | None = None) -> list[Handle[S]]:
        """Those of one model, or all."""
        if name is not None:
            return list(self._by_name.get(name, ()))
        return [handle for handles in self._by_name.values() for handle in handles]

    def ready(self, name: str) -> list[Handle[S]]:
        """Those of a model that serve."""
        return [handle for handle in self._by_name.get(name, ()) if handle.life.state is State.READY]

    def last_in(self, states: tuple[State, ...], name: str | None) -> Handle[S] | None:
        """The last one: loads end about in order, so who waits for it need not look through all at every change."""
        return next((handle for handle in reversed(self.of(name)) if handle.life.state in states), None)

    def begin(self, spec: VersionSpec) -> Handle[S]:
        """A new one, LOADING."""
        self._serials += 1
        handle: Handle[S] = Handle(self._serials, spec)
        self._by_name.setdefault(spec.id.name, []).append(handle)
        handle.life.advance(State.LOADING)
        return handle

    def forget(self, handle: Handle[S]) -> None:
        """It is GONE."""
        handle.life.advance(State.GONE)
        name = handle.spec.id.name
        self._by_name[name].remove(handle)
        if not self._by_name[name]:
            del self._by_name[name]
