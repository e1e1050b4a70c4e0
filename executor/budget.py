"""The memory of all, and what this process's models may have of it and do have.

What cannot fit is refused before it is loaded, with the numbers: else the system would kill a process for it, perhaps
one that serves. A model fits if its weights do; what it takes besides is not known yet. Where the same model in all
processes could take all that is free, they load one after the other: each sees what the one before it has taken.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path

from executor.footprint import Meter, Use, mapped, own_bytes
from executor.gpu_memory import room_on as room_on_gpu
from executor.gpu_memory import taken_on
from executor.locks import AVAILABLE, locked
from executor.providers import ON_THE_CPU
from headrace.errors import LoadFailed
from headrace.memory import Room, room
from headrace.models import ModelId
from headrace.sharding import in_words

LEAST_BYTES = 32 << 20
"""Files of smaller models are not looked for among all that the process maps: with 1,000 of them that takes seconds."""


class Footprint:
    """Of one load. `folders`: where files may be that it maps. `uses`: what it takes, once it is loaded."""

    def __init__(self, folder: Path) -> None:
        self.folders = [folder]
        self.uses: tuple[Use, ...] = ()


def room_on(device: str) -> Room | None:
    """What is left there; None: it is not known."""
    return room() if device == ON_THE_CPU else room_on_gpu(device)


class Budget:
    """One per process; its methods may be called by several threads.

    `turn` is a file that all processes of the pool have for this; None: this is the only one. `others` says how many
    bytes of weights their models map, all but one model: they are free by the system's account, and are not.
    """

    def __init__(
        self,
        turn: Path | None = None,
        others: Callable[[ModelId], int] = lambda but: 0,
        room_on: Callable[[str], Room | None] = room_on,
    ) -> None:
        self._turn = turn
        self._others = others
        self._room_on = room_on
        self._lock = threading.Lock()
        self._meters: dict[str, Meter] = {}

    @contextmanager
    def load(self, id: ModelId, folder: Path, needs: Mapping[str, int], sessions: int = 1) -> Iterator[Footprint]:
        """A model in `folder` is loaded and warmed up within, whose weights need so many bytes of each device.

        `sessions` of it, here and in other processes, may each need as much. Raises LoadFailed if it cannot fit.
        """
        footprint, weight = Footprint(folder), max(1, *needs.values())
        with self._in_turn(needs, sessions):
            self._check(id, needs)
            with ExitStack() as stack:
                grown = {at: stack.enter_context(self._meter(at).growth(weight)) for at in {ON_THE_CPU, *needs}}
                yield footprint
                taken = mapped(footprint.folders) if weight >= LEAST_BYTES else []
        own = [Use(device, max(0, int(growth.bytes))) for device, growth in sorted(grown.items())]
        footprint.uses = (*(use for use in own if use.bytes), *taken)

    def _check(self, id: ModelId, needs: Mapping[str, int]) -> None:
        for device, needed in needs.items():
            found = self._room(id, device)
            if found is not None and needed > found.free_bytes:
                raise LoadFailed(
                    f"model {id} does not fit: its weights have {in_words(needed)}, and of the "
                    f"{in_words(found.limit_bytes)} of {found.whose} {in_words(found.free_bytes)} are free"
                )

    def _room(self, id: ModelId, device: str) -> Room | None:
        found = self._room_on(device)
        if found is None or device != ON_THE_CPU:
            return found
        return Room(found.limit_bytes, max(0, found.free_bytes - self._others(id)), found.whose)

    def _in_turn(self, needs: Mapping[str, int], sessions: int) -> AbstractContextManager[object]:
        """Held while others must not load, if there is reason to wait for them."""
        rooms = {device: self._room_on(device) for device in needs}
        scarce = any(room and sessions * needs[device] > room.free_bytes for device, room in rooms.items())
        return locked(self._turn) if scarce and self._turn is not None and AVAILABLE else nullcontext()

    def _meter(self, device: str) -> Meter:
        with self._lock:
            if device not in self._meters:
                level = own_bytes if device == ON_THE_CPU else lambda: taken_on(device)
                self._meters[device] = Meter(level)
            return self._meters[device]


def weight_bytes(model_file: Path) -> int:
    """Bytes of the model's file and of the larger files below its folder that it names: those with its weights.

    0 if it cannot be read, which the runtime will say better.
    """
    try:
        size = model_file.stat().st_size
        files = [path for path in model_file.parent.rglob("*") if path != model_file and path.is_file()]
        large = {path: found for path in files if (found := path.stat().st_size) >= LEAST_BYTES}
        if not large or size > max(large.values()):  # a graph without weights is small
            return size
        graph = model_file.read_bytes()
        names = {path: str(path.relative_to(model_file.parent)).encode() for path in large}
        return size + sum(found for path, found in large.items() if names[path] in graph)
    except OSError:
        return 0
