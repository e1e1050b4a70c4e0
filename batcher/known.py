"""What is known of a model: what its batches cost, within which limits they are made. Read from a batcher's document.

The document is that of `describe` (`GET /v2/models/M/batcher`), from a server or kept in a file; from a curve of two
numbers the same is made by hand. Hands a `Known` to `what_if`, and the requests that were recorded as a load. Pure.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import accumulate
from math import inf
from random import Random

import msgspec

from batcher import loads
from batcher.curve import KEPT, Curve
from batcher.decide import Limits
from batcher.objective import Objective
from batcher.simulate import Device, Load
from headrace.errors import ConfigError

_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"
_AFFINE = re.compile(rf"\s*{_NUMBER}\s*\+\s*{_NUMBER}\s*\*?\s*b\s*")
_AFFINE_ROWS = (1, 2, 64)
MOST_ROWS = 64
LEAST_NOISE = 16
"""Runs that say by how much others will differ."""


class Known(msgspec.Struct, frozen=True):
    """One model. `sizes`: (rows, seconds of a batch alone, runs). `slowdown`: by batches in flight, from 0."""

    sizes: tuple[tuple[int, float, int], ...]
    slowdown: tuple[float, ...] = (1.0, 1.0)
    noise: tuple[float, ...] = (1.0,)
    limits: Limits = Limits(MOST_ROWS)
    objective: Objective = "mean"
    slo_s: float = 0.0
    trusted: bool = True
    """Whether batches of one size took about the same time."""
    model: str = ""
    replicas: int = 1
    """Of the server that it comes from. What is known is that of one of them."""

    @property
    def slots(self) -> int:
        """Batches that the executor takes at once."""
        return len(self.slowdown) - 1

    def table(self) -> list[float]:
        """Seconds by rows up to the limit; item 0 means nothing."""
        curve = Curve(self.slots)
        for rows, seconds, runs in self.sizes:
            curve.measured(rows, seconds, runs)
        return curve.table(self.limits.max_batch_rows, self.noise)

    def device(self) -> Device:
        """What runs its batches."""
        return Device.of_table(self.table(), self.slowdown, self.noise)


class Recorded(msgspec.Struct, frozen=True):
    """The last requests of a replica: their load, how many they were, in how many seconds they came."""

    load: Load
    count: int
    span_s: float

    def again(self, requests: int) -> Load:
        """Again and again until there are so many: a few hundred say nothing of the slowest hundredth."""
        load = self.load
        if not load.opens:
            return load
        return replace(load, opens=loads.recorded(load.opens, requests, lap_s=self.span_s).opens)


class _Size(msgspec.Struct):
    rows: int
    ms: float
    runs: int = KEPT


class _Curve(msgspec.Struct):
    sizes: list[_Size]
    slowdown: list[float]
    trusted: bool = True


class _Limits(msgspec.Struct):
    max_batch_rows: int
    max_queue_delay_ms: float | None = None


class _Arrivals(msgspec.Struct):
    requests: int = 0
    clients: int = 0
    span_s: float = 0.0


class _Recording(msgspec.Struct):
    open_gaps_ms: list[float]
    thinks_ms: list[float]
    rows: list[int]
    noise: list[float]
    keys: list[int] = []


class _Document(msgspec.Struct):
    controller: str
    limits: _Limits
    curve: _Curve | None = None
    arrivals: _Arrivals = msgspec.field(default_factory=_Arrivals)
    recording: _Recording | None = None
    objective: Objective = "mean"
    slo_ms: float | None = None
    model: str = ""
    replicas: int = 1


def read(document: bytes, where: str) -> tuple[Known, Recorded | None]:
    """The model, and the requests that it had, if they were recorded. Raises ConfigError that begins with `where`."""
    try:
        said = msgspec.json.decode(document, type=_Document)
    except msgspec.DecodeError as error:
        raise ConfigError(f"{where}: expected what GET /v2/models/M/batcher answers, found none: {error}") from None
    if said.curve is None:
        raise ConfigError(f"{where}: the controller is {said.controller!r}, which learns no curve (adaptive does)")
    if not said.curve.sizes:
        raise ConfigError(f"{where}: no batch has run yet, so its curve is empty")
    if len(said.curve.slowdown) < 1 or min(said.curve.slowdown) <= 0:
        raise ConfigError(f"{where}: curve.slowdown: expected a factor for each number of batches in flight")
    for size in said.curve.sizes:
        if size.rows < 1 or size.ms <= 0:
            raise ConfigError(f"{where}: curve.sizes: {size.rows} rows in {size.ms} ms are no batch")
    delay_ms, recording = said.limits.max_queue_delay_ms, said.recording
    known = Known(
        tuple((size.rows, size.ms / 1e3, size.runs) for size in said.curve.sizes),
        (1.0, *said.curve.slowdown),
        tuple(recording.noise) if recording and len(recording.noise) >= LEAST_NOISE else (1.0,),
        Limits(said.limits.max_batch_rows, inf if delay_ms is None else delay_ms / 1e3),
        said.objective,
        (said.slo_ms or 0.0) / 1e3,
        said.curve.trusted,
        said.model,
        said.replicas,
    )
    return known, _recorded(recording, said.arrivals) if recording else None


def affine(curve: str) -> Known:
    """`4+0.25b`: a batch of b rows takes 4 + 0.25 b milliseconds. Raises ConfigError."""
    match = _AFFINE.fullmatch(curve)
    if match is None or float(match[1]) + float(match[2]) <= 0:
        raise ConfigError(f"expected milliseconds of a batch of b rows such as '4+0.25b', found {curve!r}")
    fixed, per_row = float(match[1]) / 1e3, float(match[2]) / 1e3
    return Known(tuple((rows, fixed + per_row * rows, KEPT) for rows in _AFFINE_ROWS))


def _recorded(recording: _Recording, arrivals: _Arrivals) -> Recorded:
    opens = list(accumulate((gap / 1e3 for gap in recording.open_gaps_ms), initial=0.0))
    thinks = [think / 1e3 for think in recording.thinks_ms]
    clients = arrivals.clients if thinks else 0
    opens_or_none = opens if len(opens) > 1 else ()
    load = Load(opens_or_none, clients, thinks or (0.0,), recording.rows or loads.ONE_ROW, keys=recording.keys)
    return Recorded(load, arrivals.requests, arrivals.span_s)


def share(load: Load, replicas: int, seed: int) -> Load:
    """What one of so many replicas gets of a load, if each connection is given to any of them."""
    if replicas == 1:
        return load
    random = Random(seed)
    opens = [at for at in load.opens if random.random() * replicas < 1]
    return Load(opens, -(-load.clients // replicas), load.thinks, load.rows, load.apart_s)
