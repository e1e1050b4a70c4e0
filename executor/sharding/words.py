"""What a pipeline and the processes of its stages say to each other: one message of msgpack per frame.

    pipeline -- Open, then Run, Read -->            stage
             <-- Opened or Refused, then Ran, Failed --

Tensors lie in the arenas, as between replicas and engines: of `Run` until the answer, of `Ran` until `Read`.
"""

from __future__ import annotations

import msgspec

from executor.link.parcel import Parcel


class Open(msgspec.Struct, array_like=True, frozen=True, tag=1):
    """Open a session. `model`: of a stage, its weights below `folder`. `memory_bytes` 0: no limit."""

    name: str
    model: bytes
    folder: str
    providers: list[tuple[str, dict[str, str]]]
    threads: int
    cores: list[int]
    memory_bytes: int
    weights: list[tuple[str, int, int]] = []
    """Where they are: file below `folder`, offset, length."""


class Opened(msgspec.Struct, array_like=True, frozen=True, tag=2):
    """It is open. `note`: what there is to be said about it."""

    note: str = ""


class Refused(msgspec.Struct, array_like=True, frozen=True, tag=3):
    """It cannot be opened, for a `reason`."""

    reason: str


class Run(msgspec.Struct, array_like=True, frozen=True, tag=4):
    """Run once. Answers come in the order of the runs."""

    parcel: Parcel


class Read(msgspec.Struct, array_like=True, frozen=True, tag=5):
    """The answer that begins at `start` has been read."""

    start: int


class Ran(msgspec.Struct, array_like=True, frozen=True, tag=6):
    """What it gave, and the seconds that it took."""

    parcel: Parcel
    seconds: float


class Failed(msgspec.Struct, array_like=True, frozen=True, tag=7):
    """What the runtime said."""

    sentence: str


ToStage = Open | Run | Read
ToPipeline = Opened | Refused | Ran | Failed

encode = msgspec.msgpack.Encoder().encode
to_stage = msgspec.msgpack.Decoder(ToStage).decode
to_pipeline = msgspec.msgpack.Decoder(ToPipeline).decode
