"""The life of one instance (one version, loaded once) as a state machine.

    NEW -> LOADING -> READY -> QUIESCING -> UNLOADING -> GONE
              |                                 ^
              +--- loaded, no longer wanted ----+          any but GONE -> FAILED -> GONE (forgotten)

READY is entered after requests can be served, QUIESCING before they no longer can, so whoever reads READY may send.
"""

from __future__ import annotations

import enum


class State(enum.Enum):
    """Where an instance is in its life."""

    NEW = "NEW"
    LOADING = "LOADING"
    READY = "READY"
    QUIESCING = "QUIESCING"
    UNLOADING = "UNLOADING"
    GONE = "GONE"
    FAILED = "FAILED"


TRANSITIONS: dict[State, frozenset[State]] = {
    State.NEW: frozenset({State.LOADING, State.FAILED}),
    State.LOADING: frozenset({State.READY, State.UNLOADING, State.FAILED}),
    State.READY: frozenset({State.QUIESCING, State.FAILED}),
    State.QUIESCING: frozenset({State.UNLOADING, State.FAILED}),
    State.UNLOADING: frozenset({State.GONE, State.FAILED}),
    State.GONE: frozenset(),
    State.FAILED: frozenset({State.GONE}),
}


class Lifecycle:
    """The state of one instance; `advance` is the only way to change it. `reason` says why it FAILED."""

    __slots__ = ("reason", "state")

    def __init__(self) -> None:
        self.state = State.NEW
        self.reason = ""

    def advance(self, to: State, reason: str = "") -> None:
        """Move to `to`. An arrow that is not in TRANSITIONS is a bug of the caller: AssertionError naming both ends."""
        if to not in TRANSITIONS[self.state]:
            raise AssertionError(f"illegal transition {self.state.name} -> {to.name}")
        self.state = to
        self.reason = reason
