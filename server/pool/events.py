"""What can happen to a supervisor: signal handlers, followers of children and timers queue these, its loop acts."""

from __future__ import annotations

from dataclasses import dataclass

from model_repo.found import Scan
from server.pool.ballots import LoadKey
from server.pool.channel import Edit, Message
from server.pool.child import Child
from server.pool.place import Place


@dataclass(frozen=True, slots=True)
class Signalled:
    """SIGTERM or SIGINT came."""

    name: str


@dataclass(frozen=True, slots=True)
class Found:
    """The source of the wanted set has looked, and something is new."""

    scan: Scan


@dataclass(frozen=True, slots=True)
class Made:
    """An edit of a client: what is wanted with it."""

    child: Child
    edit: Edit
    scan: Scan


@dataclass(frozen=True, slots=True)
class LoadOverdue:
    """The time is up in which all replicas should have loaded it, since the first one has."""

    load: LoadKey


@dataclass(frozen=True, slots=True)
class KeptNoLonger:
    """Some versions, that were wanted beside newer ones, need not be any longer."""


@dataclass(frozen=True, slots=True)
class NothingFound:
    """The source cannot even begin."""

    reason: str


@dataclass(frozen=True, slots=True)
class Said:
    """A child sent a message."""

    child: Child
    message: Message


@dataclass(frozen=True, slots=True)
class Ended:
    """A child has been reaped. All that it said is in the queue before this."""

    child: Child
    code: int


@dataclass(frozen=True, slots=True)
class RestartDue:
    """The back-off of a place is over."""

    place: Place


@dataclass(frozen=True, slots=True)
class StandbyDue:
    """There should be a standby now."""


@dataclass(frozen=True, slots=True)
class LagOver:
    """Load balancers have had their time to turn away."""


@dataclass(frozen=True, slots=True)
class StragglersDue:
    """Replacements that were starting when the drain began have had their time to get out of the way."""


@dataclass(frozen=True, slots=True)
class GraceOver:
    """Replicas that have not drained by now never will."""


Event = (
    Signalled
    | Found
    | Made
    | LoadOverdue
    | KeptNoLonger
    | NothingFound
    | Said
    | Ended
    | RestartDue
    | StandbyDue
    | LagOver
    | StragglersDue
    | GraceOver
)
