"""Which versions of each model were published last, and which ones before them may yet come back. Pure.

Asked and told by the supervisor's `Control`, which passes the time in. Of a model whose new versions are not published
(yet, or because a replica could not load one) the last published ones stay wanted beside them: a replica that starts
meanwhile must have something to serve. While new versions are on trial the ones before stay wanted too.
"""

from __future__ import annotations

from collections.abc import Iterator

from model_repo.scan import ModelScan, Scan
from model_repo.spec import VersionSpec
from server.pool.roster import TIME


class Published:
    """What the replicas serve, as far as the supervisor has decided it."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[VersionSpec, ...]] = {}
        self._before: dict[str, tuple[float, tuple[VersionSpec, ...]]] = {}
        """Until when they may come back, and what they are."""

    def complete(self, name: str, versions: tuple[VersionSpec, ...], now: float) -> float:
        """All versions that are wanted of the model are published. For how long the ones before are kept, seconds."""
        last = self._last.get(name, ())
        if _loads(last) == _loads(versions):
            return 0.0
        self._last[name] = versions
        watch_s = max((spec.config.safe_reload.watch_s for spec in versions), default=0.0)
        if not last or not watch_s:
            self._before.pop(name, None)
            return 0.0
        self._before[name] = (now + watch_s, last)
        return watch_s

    def take_back(self, name: str, now: float) -> bool:
        """Whether what was published last of this model gives way to what was there before: only while that is kept."""
        until, before = self._before.pop(name, (0.0, ()))
        if now >= until:
            return False
        self._last[name] = before
        return True

    def beside(self, scan: Scan, now: float) -> Scan:
        """What is wanted, given what the repository wants."""
        self._last = {name: last for name, last in self._last.items() if name in scan.models}
        self._before = {name: before for name, before in self._before.items() if name in scan.models}
        return Scan({name: self._with_kept(name, model, now) for name, model in scan.models.items()})

    def _with_kept(self, name: str, model: ModelScan, now: float) -> ModelScan:
        wanted = {spec.id for spec in model.versions}
        kept = {spec.id: spec for spec in self._kept(name, model, now) if spec.id not in wanted}
        if not wanted or not kept:
            return model
        return ModelScan((*model.versions, *kept.values()), model.problems)

    def _kept(self, name: str, model: ModelScan, now: float) -> Iterator[VersionSpec]:
        until, before = self._before.get(name, (0.0, ()))
        if now < until:
            yield from before
        if _loads(self._last.get(name, ())) != _loads(model.versions):
            yield from self._last.get(name, ())


def _loads(versions: tuple[VersionSpec, ...]) -> set[tuple[int, str]]:
    """The same, however often they were asleep in between."""
    return {(spec.id.version, spec.fingerprint.partition(TIME)[0]) for spec in versions}
