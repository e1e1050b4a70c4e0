"""Do all replicas publish this load, or none? The count of their votes, without a clock or a channel.

Receives votes and who may vote from the supervisor's `Control`, hands out verdicts. A load is a model version with the
fingerprint of its files and settings. A vote is "" for *prepared* or the reason why the load failed; so is a verdict.
Invariants: 1. One failure withholds a load at once, whoever else is still at it. 2. It is published when every replica
that may vote has prepared it. 3. A verdict stands: whoever votes later gets it, until the load is wanted no more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TypeAlias

LoadKey: TypeAlias = tuple[str, int, str]
"""Model, version, fingerprint."""


def verdict(votes: Mapping[int, str], voters: Collection[int]) -> str | None:
    """What follows from these votes by replica: None as long as someone's vote is missing."""
    for replica, reason in sorted(votes.items()):
        if reason:
            return f"replica {replica} could not load it: {reason}"
    return "" if votes and votes.keys() >= set(voters) else None


class Ballots:
    """All loads that are voted on or decided."""

    def __init__(self) -> None:
        self._wanted: frozenset[LoadKey] = frozenset()
        self._open: dict[LoadKey, dict[int, str]] = {}
        self._decided: dict[LoadKey, str] = {}
        self._voted: list[LoadKey] = []  # since the last count
        self._voters: frozenset[int] = frozenset()  # of the last count

    def vote(self, load: LoadKey, replica: int, reason: str) -> str | None:
        """Cast a vote; the verdict, if there was one before. A vote on what is not wanted any more is no vote."""
        known = self._decided.get(load)
        if known is None and load in self._wanted:
            self._open.setdefault(load, {})[replica] = reason
            self._voted.append(load)
        return known

    def verdict(self, load: LoadKey) -> str | None:
        """What was decided on it; None as long as nothing is."""
        return self._decided.get(load)

    def leave(self, replica: int) -> None:
        """Its process has ended: what it had prepared is gone, and so are its votes."""
        for votes in self._open.values():
            votes.pop(replica, None)

    def want(self, wanted: Collection[LoadKey]) -> None:
        """These are voted on from now on; every other load is forgotten."""
        self._wanted = frozenset(wanted)
        self._open = {load: votes for load, votes in self._open.items() if load in wanted}
        self._decided = {load: reason for load, reason in self._decided.items() if load in wanted}

    def count(self, voters: Collection[int]) -> Iterator[tuple[LoadKey, str, list[int]]]:
        """What is decided now that was not before: load, verdict, and the replicas that have voted.

        While the voters are the same only loads with a new vote are looked at: a thousand may be open.
        """
        looked_at = list(dict.fromkeys(self._voted) if self._voters == frozenset(voters) else self._open)
        self._voted, self._voters = [], frozenset(voters)
        for load in looked_at:
            votes = self._open.get(load, {})
            reason = verdict(votes, voters)
            if reason is not None:
                self._decided[load] = reason
                del self._open[load]
                yield load, reason, sorted(votes)
