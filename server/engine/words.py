"""What replicas and engines say to each other: one message of msgpack per frame of a `Wire`.

    replica -- Load, Unload, Run, Cancel, Read, Ask -->      engine
            <-- Loaded, Unable, Answer, Failure, Free, Told --

Tensors lie in the arenas: those of `Run` in the replica's, whose region for it stays until `Free`; those of `Answer` in
the engine's, until `Read`. A run is known by where its region begins: there is no other with it meanwhile. Times are
those of the clock of the machine, `time.monotonic`.
"""

from __future__ import annotations

import msgspec

from batcher.account import Account
from executor.link.parcel import Parcel
from headrace.errors import BY_SLUG, Overloaded, ServingError

WAITS, RUNS, RUNS_ALONE = 0, 1, 2
"""First byte of a run's region: whether the engine runs it, and whether nothing else runs there. If it dies, this is
what is left of its word."""


class Load(msgspec.Struct, array_like=True, frozen=True, tag=1):
    """Load a version, a pickled `VersionSpec`; it is called `number` from now on. Loaded already it is shared."""

    number: int
    spec: bytes


class Unload(msgspec.Struct, array_like=True, frozen=True, tag=2):
    """This replica does not need it any more."""

    number: int


class Run(msgspec.Struct, array_like=True, frozen=True, tag=3):
    """An entry of the batcher of version `number`. `timeout_s` 0: none. `alone`: it may have killed an engine.

    `explain`: its answer says where its time went.
    """

    number: int
    parcel: Parcel
    rows: int
    key: msgspec.Raw
    arrived: float
    rank: float
    client: int
    length: int
    timeout_s: float
    alone: bool = False
    explain: bool = False


class Cancel(msgspec.Struct, array_like=True, frozen=True, tag=4):
    """Nobody waits for this run any more."""

    run: int


class Read(msgspec.Struct, array_like=True, frozen=True, tag=5):
    """These answers' regions are the engine's again."""

    starts: list[int]


class Ask(msgspec.Struct, array_like=True, frozen=True, tag=6):
    """What version `number` has learnt and does; see `describe`. Answered by `Told` with this serial."""

    number: int
    serial: int
    recording: bool


class Loaded(msgspec.Struct, array_like=True, frozen=True, tag=7):
    """The version serves. `metadata`: a pickled `ModelMetadata`."""

    number: int
    metadata: bytes
    providers: tuple[str, ...]
    max_batch_rows: int
    slots: int


class Unable(msgspec.Struct, array_like=True, frozen=True, tag=8):
    """The version cannot be loaded, for a `reason`."""

    number: int
    reason: str


class Answer(msgspec.Struct, array_like=True, frozen=True, tag=9):
    """The outputs of a run, and, if they were asked for, where its time went."""

    run: int
    parcel: Parcel
    account: Account | None = None


class Failure(msgspec.Struct, array_like=True, frozen=True, tag=10):
    """Why a run has none: a `ServingError` by its slug."""

    run: int
    slug: str
    sentence: str
    retry_after_s: float


class Free(msgspec.Struct, array_like=True, frozen=True, tag=11):
    """The engine does not look at these runs' regions any more."""

    runs: list[int]


class Told(msgspec.Struct, array_like=True, frozen=True, tag=12):
    """The answer to `Ask`, as JSON."""

    serial: int
    document: bytes


ToEngine = Load | Unload | Run | Cancel | Read | Ask
ToReplica = Loaded | Unable | Answer | Failure | Free | Told

encode = msgspec.msgpack.Encoder().encode
to_engine = msgspec.msgpack.Decoder(ToEngine).decode
to_replica = msgspec.msgpack.Decoder(ToReplica).decode


def failure(run: int, error: ServingError) -> Failure:
    """An error in words."""
    return Failure(run, error.slug, str(error), error.retry_after_s if isinstance(error, Overloaded) else 0.0)


def error(failure: Failure) -> ServingError:
    """And back."""
    kind = BY_SLUG.get(failure.slug, ServingError)
    if issubclass(kind, Overloaded):
        return kind(failure.sentence, failure.retry_after_s)
    return kind(failure.sentence)
