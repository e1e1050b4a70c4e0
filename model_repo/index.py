"""The repository index: one row per model version, as V2's repository extension wants it. Pure.

Receives what is wanted, the instances and the problems from the manager; hands back sorted rows. A problem that
concerns a whole model has the version "". A READY row with a reason serves older files, because the newer ones failed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from headrace.models import ModelId
from model_repo.found import Problem
from model_repo.states import State

IndexState: TypeAlias = Literal["READY", "UNAVAILABLE", "LOADING", "UNLOADING"]

SHOWN: dict[State, IndexState] = {
    State.READY: "READY",
    State.NEW: "LOADING",
    State.LOADING: "LOADING",
    State.FAILED: "UNAVAILABLE",
    State.QUIESCING: "UNLOADING",
    State.UNLOADING: "UNLOADING",
}
"""State of an instance -> state in the index. Of several instances of one version the first in this order is shown."""
_RANK = {state: rank for rank, state in enumerate(SHOWN)}


@dataclass(frozen=True, slots=True)
class IndexRow:
    """One row. `reason` is "" when there is nothing to say."""

    name: str
    version: str
    state: IndexState
    reason: str


def rows(
    wanted: Iterable[ModelId], instances: Iterable[tuple[ModelId, State, str]], problems: Iterable[Problem]
) -> list[IndexRow]:
    """The index, by name and version. `instances` are (id, state, reason); a wanted id without one waits to load."""
    shown: dict[ModelId, State] = dict.fromkeys(wanted, State.NEW)
    reasons: dict[ModelId, str] = {}
    waiting = set(shown)
    for id, state, reason in instances:
        if id in waiting or id not in shown or _RANK[state] < _RANK[shown[id]]:
            shown[id] = state
        waiting.discard(id)
        if reason:
            reasons[id] = reason
    whole_models = []
    for problem in problems:
        if problem.version is None:
            whole_models.append(problem)
        else:
            id = ModelId(problem.name, problem.version)
            shown.setdefault(id, State.FAILED)
            reasons.setdefault(id, problem.reason)
    table = [IndexRow(problem.name, "", "UNAVAILABLE", problem.reason) for problem in whole_models]
    table += [IndexRow(id.name, str(id.version), SHOWN[state], reasons.get(id, "")) for id, state in shown.items()]
    return sorted(table, key=lambda row: (row.name, int(row.version or 0)))
