"""Decide the next thing to do so that what is actually loaded becomes what is wanted. Pure.

Receives the wanted set and a snapshot of the instances, both of one model or of many, from the manager; hands back one
action or none, and may be asked twice. An *instance* is one version loaded once: when the files of a version change,
a second instance of the same ModelId is loaded beside the first, takes over, and only then does the first one leave.

1. Omission means unload; a model of which nothing is wanted is unloaded at once.
2. The last READY version of a model that is still wanted is never unloaded.
3. An instance leaves for its successor only when that is READY and no longer on trial; if the successor FAILED, the old
one goes on serving.
4. FAILED is not tried again until the fingerprint changes. 5. At most one instance of an id is LOADING.
6. A READY version that a label would be lost with stays while the model is wanted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from headrace.models import ModelId
from model_repo.spec import VersionSpec, WantedSet
from model_repo.states import State

COMING = (State.NEW, State.LOADING)


@dataclass(frozen=True, slots=True)
class Instance:
    """Snapshot of one instance. `serial` is unique and grows with creation. `on_trial`: it may yet be taken back."""

    serial: int
    id: ModelId
    fingerprint: str
    state: State
    on_trial: bool = False


@dataclass(frozen=True, slots=True)
class Load:
    """Make an instance of `spec` and load it."""

    spec: VersionSpec


@dataclass(frozen=True, slots=True)
class Unload:
    """Quiesce and unload a READY instance, or forget a FAILED one."""

    serial: int


def next_action(wanted: WantedSet, actual: Sequence[Instance], held: Collection[int] = ()) -> Load | Unload | None:
    """The next action, or None if there is nothing to do until something else happens. Unloads first: they free memory.

    Loads go by name, then newest version first, so that the version that "" means is there soonest. `held` are the
    versions that labels point to while the version that they name is not READY; to be given for one model at a time.
    """
    for instance in actual:
        if instance.state is State.FAILED and not _is_current(instance, wanted):
            return Unload(instance.serial)
        if instance.state is State.READY and _may_leave(instance, wanted, actual, held):
            return Unload(instance.serial)
    for id in sorted(wanted, key=lambda id: (id.name, -id.version)):
        if not any(_stands_for(instance, id, wanted) for instance in actual):
            return Load(wanted[id])
    return None


def _is_current(instance: Instance, wanted: WantedSet) -> bool:
    spec = wanted.get(instance.id)
    return spec is not None and spec.fingerprint == instance.fingerprint


def _stands_for(instance: Instance, id: ModelId, wanted: WantedSet) -> bool:
    """Whether this instance makes another load of `id` needless now: the wanted one, or a load that must end first."""
    if instance.id != id:
        return False
    return instance.state in COMING or (instance.state in (State.READY, State.FAILED) and _is_current(instance, wanted))


def _may_leave(old: Instance, wanted: WantedSet, actual: Sequence[Instance], held: Collection[int]) -> bool:
    """Whether a READY instance has become superfluous."""
    if old.id in wanted:
        successors = (other for other in actual if other.id == old.id and other.serial != old.serial)
        current = any(
            other.state is State.READY and not other.on_trial and _is_current(other, wanted) for other in successors
        )
        return current and not _is_current(old, wanted)
    heirs = [id for id in wanted if id.name == old.id.name]
    if not heirs:
        return True
    if old.id.version in held:
        return False
    settled = [instance for instance in actual if instance.id in heirs and _is_current(instance, wanted)]
    if _ids(settled, State.READY) | _ids(settled, State.FAILED) != set(heirs):
        return False
    serving = _ids((instance for instance in actual if instance.id in heirs), State.READY)
    newer_failed = any(id.version > old.id.version for id in _ids(settled, State.FAILED) - serving)
    # Whoever asks for no version in particular gets the highest: it must not fall back because its successor failed.
    return bool(serving) and (max(serving).version > old.id.version or not newer_failed)


def _ids(instances: Iterable[Instance], state: State) -> set[ModelId]:
    return {instance.id for instance in instances if instance.state is state}
