"""What a scan of the repositories has found: versions to be served, and what is wrong with the rest.

Made by `scan` and carried to every replica, which reads no repository itself: this module needs no parser.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from headrace.models import ModelId
from model_repo.routing import PLAIN, Routing
from model_repo.spec import VersionSpec, WantedSet

MODEL_NAME = re.compile(r"\w[\w.+@=-]*( [\w.+@=-]+)*")
"""Letters and digits of any script, `_ . + @ = -` and single spaces between them; no leading dot."""
NAME_CHARS = 128
NAME_RULE = f"letters, digits, _ . + @ = -, {NAME_CHARS} at most"
NOT_LOADED = "not loaded"
"""The reason of a model that nobody asked for: in the index, and no news."""
ASLEEP = "asleep: loaded when a request comes"
"""The reason of a model that nobody has asked for yet, or that made room for others: no news either."""
QUIET = (NOT_LOADED, ASLEEP)
"""Reasons that are not worth a line in the log."""
NOT_THERE = "is not in the repository"
"""The reason of a model that was asked for by name and has no folder."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a model, or one version of it, is not served. `version` None: the whole model."""

    name: str
    version: int | None
    reason: str

    def __str__(self) -> str:
        return f"{self.name if self.version is None else ModelId(self.name, self.version)}: {self.reason}"


@dataclass(frozen=True, slots=True)
class ModelScan:
    """What was found of one model. Both may be non-empty: one version broken, another to be served."""

    versions: tuple[VersionSpec, ...] = ()
    problems: tuple[Problem, ...] = ()
    routing: Routing = PLAIN

    @property
    def asleep(self) -> bool:
        """Whether it is loaded when a request comes."""
        return any(problem.reason == ASLEEP for problem in self.problems)


@dataclass(frozen=True, slots=True)
class Scan:
    """What was found of all models, by name. Two scans of unchanged files are equal."""

    models: Mapping[str, ModelScan]

    @property
    def wanted(self) -> WantedSet:
        """Every version to be served."""
        return {spec.id: spec for model in self.models.values() for spec in model.versions}

    @property
    def routing(self) -> dict[str, Routing]:
        """How requests choose among the versions, of models that say so."""
        return {name: model.routing for name, model in self.models.items() if model.routing != PLAIN}

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Everything that is wrong."""
        return tuple(problem for model in self.models.values() for problem in model.problems)


def is_model_name(name: str) -> bool:
    """Whether a model may be called so (NAME_RULE): nothing that could mean another folder is."""
    return len(name) <= NAME_CHARS and MODEL_NAME.fullmatch(name) is not None
