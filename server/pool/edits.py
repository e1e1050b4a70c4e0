"""Load and unload requests under way, on the supervisor's side: edits of what is wanted, each answered when it is done.

    Edit -> the source looks at the model -> Made -> Wanted and Settle to all -> Settled by all -> Edited to who asked

Receives edits from the supervisor's loop; the replica's side is `editor.py`. Invariants: 1. Every edit is answered
once. 2. It is answered when every replica that may vote has settled, or has ended. 3. A folder that came with a load is
kept as long as that is wanted, and the one before it until the new one is served.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from headrace.errors import ModelNotFound, ServingError
from model_repo.explicit import Explicit
from model_repo.override import Override
from model_repo.sources import Source
from server.pool.channel import Edit, Edited, Settle
from server.pool.child import Child
from server.pool.control import Control
from server.pool.events import Event, Made
from server.pool.journal import Journal
from server.pool.place import Place


@dataclass(slots=True)
class _Waiting:
    child: Child
    edit: Edit
    replicas: set[int] | None = None
    """Those that have not settled yet. None: they have not been told to, since the model must be woken first."""


@dataclass(frozen=True, slots=True)
class _Load:
    """The one who asks for a model that a load request names, so that it is awake until that is answered."""

    number: int


class Edits:
    """`begin` is a task of its own, everything else is called from the supervisor's loop."""

    def __init__(
        self,
        source: Source,
        control: Control,
        places: Sequence[Place],
        journal: Journal,
        put: Callable[[Event], None],
    ) -> None:
        self._source = source
        self._control = control
        self._places = places
        self._journal = journal
        self._put = put
        self._waiting: dict[int, _Waiting] = {}
        self._number = 0
        self._folders: dict[str, dict[int, str]] = {}
        """By model, of which the last was asked for last."""
        self._served: dict[str, int] = {}
        """The last edit of a model that was a success."""

    async def begin(self, child: Child, edit: Edit) -> None:
        """Look at the model and say what is wanted from here on."""
        assert isinstance(self._source, Explicit), "the editor refuses edits in other modes"
        self._journal.note("requested", edit.model, text="load" if edit.load else "unload")
        try:
            if edit.load:
                override = Override(edit.config, Path(edit.folder) if edit.folder else None)
                scan = await self._source.load(edit.model, override)
            else:
                scan = await self._source.unload(edit.model)
        except ServingError as error:
            _remove(edit.folder)
            child.tell(Edited(edit.serial, str(error), not isinstance(error, ModelNotFound)))
        else:
            self._put(Made(child, edit, scan))

    def made(self, child: Child, edit: Edit) -> None:
        """It is wanted by now: ask everyone to say when it is so."""
        self._number += 1
        self._waiting[self._number] = _Waiting(child, edit)
        self._folders.setdefault(edit.model, {})[self._number] = edit.folder
        if edit.load:
            self._control.wake(edit.model, _Load(self._number))
        self.proceed()

    def proceed(self) -> None:
        """Models may have been woken since the last call."""
        for number, waiting in self._waiting.items():
            if waiting.replicas is None and not (waiting.edit.load and self._control.asleep(waiting.edit.model)):
                waiting.replicas = self._control.voters()
                for place in self._places:
                    if place.child is not None:
                        place.child.tell(Settle(number, waiting.edit.model))
        self._answer_those_done()

    def settled(self, place: Place, number: int) -> None:
        """The replica in `place` says so."""
        if number in self._waiting and (replicas := self._waiting[number].replicas):
            replicas.discard(place.index)
            self._answer_those_done()

    def left(self, place: Place) -> None:
        """The replica in `place` has ended or takes no more requests."""
        for waiting in self._waiting.values():
            if waiting.replicas is not None:
                waiting.replicas.discard(place.index)
        self._answer_those_done()

    def _answer_those_done(self) -> None:
        for number, waiting in list(self._waiting.items()):
            if waiting.replicas is not None and not waiting.replicas:
                del self._waiting[number]
                edit = waiting.edit
                complaint = self._control.complaint(edit.model) if edit.load else ""
                if not complaint:
                    self._served[edit.model] = number
                self._sweep(edit.model, number)
                waiting.child.tell(Edited(edit.serial, complaint, found=True))
                self._control.rest(edit.model, _Load(number))

    def _sweep(self, model: str, until: int) -> None:
        folders = self._folders[model]
        for number in [each for each in folders if each < until and each != self._served.get(model)]:
            _remove(folders.pop(number))


def _remove(folder: str) -> None:
    """A folder that came with a load: MODEL in a folder of its own."""
    if folder:
        shutil.rmtree(Path(folder).parent, ignore_errors=True)
