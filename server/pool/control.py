"""The supervisor's side of what the replicas serve: it holds the wanted set, and lets all publish a load or none.

    source -> want() -> Wanted to all -> each loads -> Vote -> counted (ballots.py) -> Verdict to all that voted
        a published load keeps failing -> Objection -> Verdict to all: the one before serves again

Receives scans from a source and votes from the supervisor's loop, hands messages to children and notes in the journal
what it decides. The replicas' side is `agreement.py`. Invariants: 1. Every replica with a place is told of every
change. 2. Those that may vote are the READY ones, and while the pool starts those that are STARTING too: one that comes
back later must not hold up the others, and takes over what they have decided. 3. Of what the source wants, the
replicas are told what is awake (roster.py), and what was published last until its successor is (published.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Hashable, Sequence
from pathlib import Path

from headrace.errors import RepositoryError
from model_repo.found import NOT_LOADED, QUIET, ModelScan, Scan
from model_repo.sources import Source
from server.pool import wanted
from server.pool.ballots import Ballots, LoadKey
from server.pool.board import Board, State
from server.pool.channel import Objection, Verdict, Vote, Wanted
from server.pool.child import Child
from server.pool.events import Event, Found, KeptNoLonger, LoadOverdue, NothingFound
from server.pool.journal import Journal
from server.pool.place import Place
from server.pool.published import Published
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
    """Called from the supervisor's loop only. `put` is the way to it; `straggler_s` is how long one may load longer."""

    def __init__(
        self,
        directory: Path,
        board: Board,
        places: Sequence[Place],
        journal: Journal,
        put: Callable[[Event], None],
        straggler_s: float,
        roster: Roster | None = None,
    ) -> None:
        self._directory = directory
        self._board = board
        self._places = places
        self._journal = journal
        self._put = put
        self._straggler_s = straggler_s
        self._roster = roster
        self._ballots = Ballots()
        self._published = Published()
        self._scan = Scan({})
        self._loads: frozenset[LoadKey] = frozenset()
        self._known = False
        self._behind = False

    def want(self, scan: Scan) -> None:
        """From now on the repository says this: all of it is wanted, or what is awake of it."""
        self._want(self._roster.want(scan) if self._roster else scan)

    def want_again(self) -> None:
        """Less may be wanted than before, because something was published or time has passed."""
        self._behind = False
        self._tell()

    def wake(self, name: str, who: Hashable) -> None:
        """`who` asks for a model that may be asleep."""
        if self._roster and self._roster.ask(name, who):
            self._want(self._roster.part())

    def rest(self, name: str, who: Hashable) -> None:
        """`who` asks for it no more."""
        if self._roster and self._roster.rest(name, who):
            self._want(self._roster.part())

    def asleep(self, name: str) -> bool:
        """Whether the model is wanted and asleep."""
        return self._roster is not None and self._roster.asleep(name)

    def greet(self, child: Child) -> None:
        """A child has a place now."""
        if self._known:
            child.tell(Wanted())

    def vote(self, place: Place, vote: Vote) -> None:
        """The replica in `place` has prepared a load, or cannot."""
        assert place.child is not None
        load = (vote.model, vote.version, vote.fingerprint)
        first = not self._ballots.is_open(load)
        known = self._ballots.vote(load, place.index, vote.reason)
        if known is not None:
            place.child.tell(Verdict(*load, known))
        self.count()
        if first and self._ballots.is_open(load):
            asyncio.get_running_loop().call_later(self._straggler_s, self._put, LoadOverdue(load))

    def overdue(self, load: LoadKey) -> None:
        """A replica has loaded it long ago, and others still have not."""
        refusal = self._ballots.overdue(load, self.voters(), self._straggler_s)
        if refusal is not None:
            self._decided(load, *refusal)

    def object_to(self, objection: Objection) -> None:
        """A replica wants a published load taken back."""
        load = (objection.model, objection.version, objection.fingerprint)
        now = asyncio.get_running_loop().time()
        if self._ballots.verdict(load) == "" and self._published.take_back(objection.model, now):
            self._ballots.reverse(load, objection.reason)
            self._journal.note("rolled_back", objection.model, objection.version, objection.reason)
            self._tell()
            self._announce(load, objection.reason, [place.index for place in self._places])

    def left(self, place: Place) -> None:
        """The replica in `place` has ended."""
        self._ballots.leave(place.index)
        self.count()
        if self._roster and self._roster.left(place.index):
            self._want(self._roster.part())

    def count(self) -> None:
        """To be called whenever those that may vote have become fewer."""
        changed = False
        for load, reason, voted in self._ballots.count(self.voters()):
            self._decided(load, reason, voted)
            changed |= self._roster is not None and self._roster.decided(load[0], not reason)
        if changed and self._roster:
            self._want(self._roster.part())

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
        starting = self._board.pool_starting()
        states = {place.index: self._board.state(place.index) for place in self._places if place.child is not None}
        return {
            index for index, state in states.items() if state is State.READY or (starting and state is State.STARTING)
        }

    def _want(self, scan: Scan) -> None:
        self._note(scan)
        self._scan, self._known = scan, True
        self._tell()
        self._complete(scan.models)

    def _tell(self) -> None:
        scan = self._published.beside(self._scan, asyncio.get_running_loop().time())
        wanted.write(self._directory, scan)
        self._ballots.want(_loads(scan))
        for place in self._places:
            if place.child is not None:
                place.child.tell(Wanted())

    def _decided(self, load: LoadKey, reason: str, voted: Sequence[int]) -> None:
        name, version, _ = load
        self._journal.note("refused" if reason else "published", name, version, reason)
        if reason:
            _log.warning("%s/%d is not published: %s", name, version, reason)
        self._complete((name,))
        self._announce(load, reason, voted)

    def _complete(self, names: Collection[str]) -> None:
        """Of those models of which all that is wanted is published, what was there before may go, sooner or later."""
        loop = asyncio.get_running_loop()
        for name in names:
            model = self._scan.models.get(name, ModelScan())
            loads = ((name, spec.id.version, spec.fingerprint) for spec in model.versions)
            if model.versions and all(self._ballots.verdict(load) == "" for load in loads):
                kept_s = self._published.complete(name, model, loop.time())
                if kept_s:
                    loop.call_later(kept_s, self._put, KeptNoLonger())
                elif kept_s is not None and not self._behind:
                    self._behind = True  # once for all that are published meanwhile
                    self._put(KeptNoLonger())

    def _announce(self, load: LoadKey, reason: str, voted: Collection[int]) -> None:
        for place in self._places:
            if place.index in voted and place.child is not None:
                place.child.tell(Verdict(*load, reason))

    def _note(self, scan: Scan) -> None:
        before, after = _loads(self._scan), _loads(scan)
        for name, version, _ in sorted(before - after):
            if not any((name, version) == load[:2] for load in after - before):
                self._journal.note("unwanted", name, version)
        for name, version, _ in sorted(after - before):
            self._journal.note("wanted", name, version)
        known = set(self._scan.problems)
        for problem in scan.problems:
            if problem not in known and problem.reason not in QUIET:
                self._journal.note("problem", problem.name, problem.version, problem.reason)


def _loads(scan: Scan) -> set[LoadKey]:
    return {(id.name, id.version, spec.fingerprint) for id, spec in scan.wanted.items()}
