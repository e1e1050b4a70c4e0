"""The pool's shared memory: what everyone may know about every replica without asking.

The supervisor makes one file of 64-bit cells and each replica maps it: two cells for the pool, then one row per field
with a cell for each replica. Invariants: 1. Every cell has one writer: the counts of connections (`crowd`) the replica
that holds the place, all others the supervisor. 2. A cell is written in one store: readers see the old or the new
value. 3. `pool_ready` is a latch: once every replica has been ready it stays set while dead ones are replaced, because
the listening sockets are shared and the others take the dead one's connections. It ends when the pool is told to end.
"""

from __future__ import annotations

import enum
import mmap
from dataclasses import dataclass
from pathlib import Path

from server.pool.crowd import Crowd

_POOL = 0
_REPLICAS = 1
_HEADER = 2


class _Pool(enum.IntEnum):
    """STARTING -> READY -> LEAVING, and STARTING -> LEAVING."""

    STARTING = 0
    READY = 1
    LEAVING = 2


class State(enum.IntEnum):
    """DEAD -> STARTING -> READY -> DRAINING -> DEAD; from STARTING also -> DRAINING, and any -> DEAD."""

    DEAD = 0
    STARTING = 1
    READY = 2
    DRAINING = 3


TRANSITIONS: dict[State, frozenset[State]] = {
    State.DEAD: frozenset({State.STARTING}),
    State.STARTING: frozenset({State.READY, State.DRAINING, State.DEAD}),
    State.READY: frozenset({State.DRAINING, State.DEAD}),
    State.DRAINING: frozenset({State.DEAD}),
}


class _Row(enum.IntEnum):
    STATE = 0
    GENERATION = 1
    PID = 2
    HTTP = 3
    HTTP_ACCEPTED = 4
    GRPC = 5
    GRPC_ACCEPTED = 6


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """One place of the pool. `generation` - 1 is how often its replica was replaced; `http`, `grpc`: connections."""

    index: int
    state: State
    generation: int
    pid: int
    http: int
    grpc: int


class Board:
    """One process's view of the cells. Cheap enough to read for every accepted connection."""

    def __init__(self, cells: memoryview) -> None:
        self._cells = cells
        self._replicas = replicas = cells[_REPLICAS]
        assert len(cells) == _HEADER + len(_Row) * replicas
        self._rows = [cells[_HEADER + row * replicas : _HEADER + (row + 1) * replicas] for row in _Row]

    @classmethod
    def create(cls, path: Path, replicas: int) -> Board:
        """A new file at `path`, every place DEAD in generation 0."""
        path.write_bytes(bytes(8 * (_HEADER + len(_Row) * replicas)))
        cells = _map(path)
        cells[_REPLICAS] = replicas
        return cls(cells)

    @classmethod
    def open(cls, path: Path) -> Board:
        """The board that the supervisor made."""
        return cls(_map(path))

    def pool_starting(self) -> bool:
        """Not every replica has been ready yet, and the pool was not told to end."""
        return self._cells[_POOL] == _Pool.STARTING.value

    def pool_ready(self) -> bool:
        """Every replica has been ready since the pool started (see the module: a latch), and it goes on."""
        return self._cells[_POOL] == _Pool.READY.value

    def pool_leaving(self) -> bool:
        """The pool was told to end: whoever can go elsewhere should."""
        return self._cells[_POOL] == _Pool.LEAVING.value

    def replicas(self) -> list[ReplicaStatus]:
        """All places as they are now."""
        return [
            ReplicaStatus(index, State(state), generation, pid, http, grpc)
            for index, (state, generation, pid, http, _, grpc, _) in enumerate(zip(*self._rows, strict=True))
        ]

    def latch_pool_ready(self) -> None:
        """Supervisor: from now on the pool is ready."""
        self._cells[_POOL] = _Pool.READY.value

    def leave(self) -> None:
        """Supervisor: from now on the pool is not ready, and will not be again."""
        self._cells[_POOL] = _Pool.LEAVING.value

    def seat(self, index: int, pid: int) -> int:
        """Supervisor: a new process has the place, state STARTING. Returns its generation."""
        self._rows[_Row.PID][index] = pid
        self._rows[_Row.GENERATION][index] += 1
        self.advance(index, State.STARTING)
        generation: int = self._rows[_Row.GENERATION][index]
        return generation

    def advance(self, index: int, to: State) -> None:
        """Supervisor: the only place where a state changes."""
        now = State(self._rows[_Row.STATE][index])
        assert to in TRANSITIONS[now], f"replica {index}: no way from {now.name} to {to.name}"
        self._rows[_Row.STATE][index] = to
        if to is State.DEAD:
            for row in (_Row.HTTP, _Row.GRPC):
                self._rows[row][index] = 0  # their writer is no more

    def state(self, index: int) -> State:
        """The state of one place."""
        return State(self._rows[_Row.STATE][index])

    def http(self, index: int) -> Crowd:
        """The HTTP connections, as the replica at `index` counts and sees them."""
        return self._crowd(index, _Row.HTTP, _Row.HTTP_ACCEPTED)

    def grpc(self, index: int) -> Crowd:
        """The gRPC connections, likewise."""
        return self._crowd(index, _Row.GRPC, _Row.GRPC_ACCEPTED)

    def _crowd(self, index: int, opened: _Row, accepted: _Row) -> Crowd:
        return Crowd(index, self._rows[opened], self._rows[accepted], self._rows[_Row.STATE], State.READY.value)


def _map(path: Path) -> memoryview:
    with path.open("r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), 0)).cast("q")
