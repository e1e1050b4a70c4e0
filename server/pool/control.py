"""The supervisor's side of what the replicas serve: it holds the wanted set, and lets all publish a load or none.

    source -> want() -> Wanted to all -> each loads -> Vote -> counted (ballots.py) -> Verdict to all that voted

Receives scans from a source and votes from the supervisor's loop, hands messages to children. The replicas' side is
`agreement.py`. Invariants: 1. Every replica with a place is told of every change. 2. Those that may vote are the READY
ones, and while the pool starts those that are STARTING too: one that comes back later must not hold up the others, and
takes over what they have decided. 3. Where models sleep (`roster.py`), what is wanted is what is awake of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

from headrace.errors import RepositoryError
from model_repo.scan import NOT_LOADED, ModelScan, Scan
from model_repo.sources import Source
from server.pool import wanted
from server.pool.ballots import Ballots, LoadKey
from server.pool.board import Board, State
from server.pool.channel import Verdict, Vote, Wanted
from server.pool.child import Child
from server.pool.events import Event, Found, NothingFound
from server.pool.place import Place
from server.pool.roster import Roster

_UNLOADED = "it was unloaded by another request meanwhile"

_log = logging.getLogger("headrace.pool")


async def follow(source: Source, put: Callable[[Event], None]) -> None:
    """Turn what the source says into events, for as long as it says anything."""
    try:
        async for scan in source:
            put(Found(scan))
    except RepositoryError as error:
        put(NothingFound(str(error)))


class Control:
    """Called from the supervisor's loop only."""

    def __init__(self, directory: Path, board: Board, places: Sequence[Place], roster: Roster | None = None) -> None:
        self._directory = directory
        self._roster = roster
        self._board = board
        self._places = places
        self._ballots = Ballots()
        self._scan = Scan({})
        self._known = False

    def want(self, scan: Scan) -> None:
        """From now on this is wanted: all of it, or what is awake of it."""
        self._publish(self._roster.want(scan) if self._roster else scan)

    def wake(self, name: str, who: Hashable) -> None:
        """`who` asks for a model that may be asleep."""
        if self._roster and self._roster.ask(name, who):
            self._publish(self._roster.part())

    def rest(self, name: str, who: Hashable) -> None:
        """`who` asks for it no more."""
        if self._roster and self._roster.rest(name, who):
            self._publish(self._roster.part())

    def asleep(self, name: str) -> bool:
        """Whether the model is wanted and asleep."""
        return self._roster is not None and self._roster.asleep(name)

    def _publish(self, scan: Scan) -> None:
        wanted.write(self._directory, scan)
        self._scan, self._known = scan, True
        self._ballots.want({(id.name, id.version, spec.fingerprint) for id, spec in scan.wanted.items()})
        for place in self._places:
            if place.child is not None:
                place.child.tell(Wanted())

    def greet(self, child: Child) -> None:
        """A child has a place now."""
        if self._known:
            child.tell(Wanted())

    def vote(self, place: Place, vote: Vote) -> None:
        """The replica in `place` has prepared a load, or cannot."""
        assert place.child is not None
        load = (vote.model, vote.version, vote.fingerprint)
        known = self._ballots.vote(load, place.index, vote.reason)
        if known is not None:
            place.child.tell(Verdict(*load, known))
        self.count()

    def left(self, place: Place) -> None:
        """The replica in `place` has ended."""
        self._ballots.leave(place.index)
        self.count()
        if self._roster and self._roster.left(place.index):
            self._publish(self._roster.part())

    def count(self) -> None:
        """To be called whenever those that may vote have become fewer."""
        changed = False
        for load, reason, voted in self._ballots.count(self.voters()):
            if reason:
                _log.warning("%s/%d is not published: %s", load[0], load[1], reason)
            self._announce(load, reason, voted)
            changed |= self._roster is not None and self._roster.decided(load[0], not reason)
        if changed and self._roster:
            self._publish(self._roster.part())

    def _announce(self, load: LoadKey, reason: str, voted: Sequence[int]) -> None:
        for place in self._places:
            if place.index in voted and place.child is not None:
                place.child.tell(Verdict(*load, reason))

    def complaint(self, name: str) -> str:
        """Why the model is not all that is wanted of it, once it has settled; "" if it is."""
        model = self._scan.models.get(name, ModelScan())
        reasons = [_UNLOADED if problem.reason == NOT_LOADED else str(problem) for problem in model.problems]
        for spec in model.versions:
            if reason := self._ballots.verdict((name, spec.id.version, spec.fingerprint)):
                reasons.append(f"{spec.id}: {reason}")
        return "; ".join(reasons)

    def voters(self) -> set[int]:
        """The replicas without which nothing is published."""
        starting = not self._board.pool_ready()
        states = {place.index: self._board.state(place.index) for place in self._places if place.child is not None}
        return {
            index for index, state in states.items() if state is State.READY or (starting and state is State.STARTING)
        }
