"""What has to be done to make the copy like the listing, and when to look again. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

LONGEST_S = 300.0
"""While a remote cannot be reached, it is asked at least this often, unless it is to be asked more rarely anyway."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One remote file: its name in the storage's own words, its size, and its mark."""

    source: str
    size: int
    mark: str


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """What changes of one model, by paths `MODEL/...`. Nothing kept and nothing new: the model goes."""

    name: str
    keep: dict[str, Entry] = field(default_factory=dict)
    fetch: dict[str, Entry] = field(default_factory=dict)
    remove: set[str] = field(default_factory=set)

    @property
    def wanted(self) -> dict[str, Entry]:
        """All of the model's files, as they will be."""
        return self.keep | self.fetch


def plan(here: Mapping[str, str | None], there: Mapping[str, Entry]) -> list[ModelPlan]:
    """The models that change. `here` are the files of the copy, with their marks (None: it is not known what it is)."""
    models: dict[str, ModelPlan] = {}
    for path in sorted({*here, *there}):
        name = path.partition("/")[0]
        model = models.setdefault(name, ModelPlan(name))
        entry = there.get(path)
        if entry is None:
            model.remove.add(path)
        elif here.get(path) == entry.mark:
            model.keep[path] = entry
        else:
            model.fetch[path] = entry
    return [model for model in models.values() if model.fetch or model.remove]


def next_look(interval_s: float, failures: int) -> float:
    """Seconds until the remote is asked again, after so many failures in a row."""
    return max(interval_s, min(interval_s * 2.0 ** min(failures, 20), LONGEST_S))
