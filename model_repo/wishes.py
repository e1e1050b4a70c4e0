"""What is wanted now, and what is wrong with the rest, by model.

The manager's own, replaced as a whole whenever the source says something new. New problems are logged, once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence

from headrace.models import ModelId
from model_repo.found import ASLEEP, QUIET, Problem
from model_repo.spec import VersionSpec, WantedSet, fingerprints

log = logging.getLogger("headrace.model_repo")


class Wishes:
    """The wanted set and the problems."""

    def __init__(self) -> None:
        self._wanted: dict[str, dict[ModelId, VersionSpec]] = {}
        self._problems: dict[str, list[Problem]] = {}

    def __iter__(self) -> Iterator[str]:
        """Names of the models of which there is something to say."""
        return iter(dict.fromkeys((*self._wanted, *self._problems)))

    def replace(self, wanted: WantedSet, problems: Iterable[Problem]) -> list[str]:
        """From now on these. The models of which other versions, or other files of them, are wanted than before."""
        before, self._wanted = self._wanted, {}
        for id, spec in wanted.items():
            self._wanted.setdefault(id.name, {})[id] = spec
        known, self._problems = self._problems, {}
        for problem in problems:
            self._problems.setdefault(problem.name, []).append(problem)
            if problem.reason not in QUIET and problem not in known.get(problem.name, ()):
                log.warning("%s", problem)
        names = sorted({*before, *self._wanted})
        return [name for name in names if fingerprints(before.get(name)) != fingerprints(self._wanted.get(name))]

    def of(self, name: str) -> WantedSet:
        """The versions that are wanted of a model."""
        return self._wanted.get(name, {})

    def problems(self, name: str) -> Sequence[Problem]:
        """What is wrong with a model."""
        return self._problems.get(name, ())

    def includes(self, spec: VersionSpec) -> bool:
        """Whether this very version, with these files, is wanted."""
        now = self.of(spec.id.name).get(spec.id)
        return now is not None and now.fingerprint == spec.fingerprint

    def asleep(self, name: str) -> bool:
        """Whether the model is loaded when a request comes."""
        return any(problem.reason == ASLEEP for problem in self.problems(name))
