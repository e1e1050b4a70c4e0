"""Which versions of each model were published last, and which ones before them may yet come back. Pure.

Asked and told by the supervisor's `Control`, which passes the time in. Of a model whose new versions are not published
(yet, or because a replica could not load one) the last published ones stay wanted beside them, and labels on them: a
replica that starts meanwhile must have something to serve. While new versions are on trial the ones before stay wanted
too.
"""

from __future__ import annotations

from dataclasses import replace

from model_repo.found import ModelScan, Scan
from model_repo.routing import Routing
from server.pool.roster import TIME


class Published:
    """What the replicas serve, as far as the supervisor has decided it."""

    def __init__(self) -> None:
        self._last: dict[str, ModelScan] = {}
        self._before: dict[str, tuple[float, ModelScan]] = {}
        """Until when they may come back, and what they are."""

    def complete(self, name: str, model: ModelScan, now: float) -> float | None:
        """All versions that are wanted of the model are published. In how many seconds those before may go.

        None: there are none.
        """
        last = self._last.get(name)
        self._last[name] = model
        if last is None or _loads(last) == _loads(model):
            return None
        watch_s = max((spec.config.safe_reload.watch_s for spec in model.versions), default=0.0)
        self._before[name] = (now + watch_s, last)
        return watch_s

    def take_back(self, name: str, now: float) -> bool:
        """Whether what was published last of this model gives way to what was there before: only while that is kept."""
        until, before = self._before.pop(name, (0.0, ModelScan()))
        if now >= until:
            return False
        self._last[name] = before
        return True

    def beside(self, scan: Scan, now: float) -> Scan:
        """What is wanted, given what the repository wants."""
        there = {name for name, model in scan.models.items() if model.versions or model.asleep}
        self._last = {name: last for name, last in self._last.items() if name in there}
        self._before = {name: before for name, before in self._before.items() if name in there}
        return Scan({name: self._with_kept(name, model, now) for name, model in scan.models.items()})

    def _with_kept(self, name: str, model: ModelScan, now: float) -> ModelScan:
        wanted = {spec.id for spec in model.versions}
        if not wanted:
            return model
        until, before = self._before.get(name, (0.0, ModelScan()))
        last = self._last.get(name, ModelScan())
        kept = {spec.id: spec for spec in before.versions if now < until}
        routing = model.routing
        if _loads(last) != _loads(model):
            kept |= {spec.id: spec for spec in last.versions}
            routing = _where_it_was(routing, last)
        beside = tuple(spec for id, spec in kept.items() if id not in wanted)
        return replace(model, versions=(*model.versions, *beside), routing=routing)


def _where_it_was(routing: Routing, last: ModelScan) -> Routing:
    """Labels of versions that are not published point to what they pointed to before."""
    published = {spec.id.version for spec in last.versions}
    labels = {
        label: version if version in published else last.routing.labels.get(label, version)
        for label, version in routing.labels.items()
    }
    return replace(routing, labels=labels)


def _loads(model: ModelScan) -> set[tuple[int, str]]:
    """The same, however often they were asleep in between."""
    return {(spec.id.version, spec.fingerprint.partition(TIME)[0]) for spec in model.versions}
