"""The control channel between supervisor and replica: one JSON message per line over a socketpair.

    supervisor  -- Boot, Wanted, Verdict, Settle, Edited, Planned, EngineUp, EngineDown, then Drain -->    replica
                <-- Vote, Objection, Settled, Edit, Wake, Woken, Plan, Need, Ready or Failed, Draining --
    supervisor  -- Boot, Planned -->     engine
                <-- Plan, Ready or Failed --

Invariants: 1. The end of the stream means that the peer is gone; there is no other heartbeat. 2. A line is at most
`MAX_LINE` bytes and no more than that may wait to be written; whoever breaks either rule is treated as gone.
It does not know what the messages lead to: supervisor.py and replica.py do.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator

import msgspec

MAX_LINE = 1 << 20

_log = logging.getLogger("headrace.pool")


class Boot(msgspec.Struct, frozen=True, tag=True):
    """Take this place. `config` is the ServerConfig as JSON; `generation` counts the replicas of a place from 1."""

    index: int
    replicas: int
    generation: int
    config: str


class Wanted(msgspec.Struct, frozen=True, tag=True):
    """What is wanted has changed: look into the pool's directory."""


class Verdict(msgspec.Struct, frozen=True, tag=True):
    """All replicas have prepared this load: publish it; or, with a `reason`, nobody does."""

    model: str
    version: int
    fingerprint: str
    reason: str


class Vote(msgspec.Struct, frozen=True, tag=True):
    """The replica has prepared this load, or cannot, for a `reason`."""

    model: str
    version: int
    fingerprint: str
    reason: str


class Objection(msgspec.Struct, frozen=True, tag=True):
    """This load, which was published, should be taken back, for a `reason`: it is if a `Verdict` with one follows."""

    model: str
    version: int
    fingerprint: str
    reason: str


class Settle(msgspec.Struct, frozen=True, tag=True):
    """Say `Settled` with this number as soon as of `model` all is as what is wanted now would have it."""

    number: int
    model: str


class Settled(msgspec.Struct, frozen=True, tag=True):
    """It is."""

    number: int


class Edit(msgspec.Struct, frozen=True, tag=True):
    """A client of this replica wants `model` loaded or unloaded: answer with `Edited` and this serial.

    `config` and `folder` are the load's `Override`; "" where there is none.
    """

    serial: int
    load: bool
    model: str
    config: str
    folder: str


class Edited(msgspec.Struct, frozen=True, tag=True):
    """It is so on all replicas; or not, for a `reason`, of which `found` tells whether there is such a model."""

    serial: int
    reason: str
    found: bool


class Wake(msgspec.Struct, frozen=True, tag=True):
    """Requests for `model`, which this replica does not have, wait here: it is asked for until `Woken`."""

    model: str


class Woken(msgspec.Struct, frozen=True, tag=True):
    """No request waits for `model` here any more: it is loaded, or cannot be, or they have all gone away."""

    model: str


class Plan(msgspec.Struct, frozen=True, tag=True):
    """A batcher of this replica wants a plan: answer with `Planned` and this serial. `question` is for planner.py.

    It takes the place of the question with the serial `instead_of`, if that has not been answered; 0: of none.
    """

    serial: int
    question: bytes
    instead_of: int = 0


class Planned(msgspec.Struct, frozen=True, tag=True):
    """Here it is."""

    serial: int
    answer: bytes


class Need(msgspec.Struct, frozen=True, tag=True):
    """This replica needs the engine of this name: answer with `EngineUp` whenever it has become ready."""

    engine: str


class EngineUp(msgspec.Struct, frozen=True, tag=True):
    """The engine takes connections."""

    engine: str


class EngineDown(msgspec.Struct, frozen=True, tag=True):
    """The engine will not be started again, for a `reason`."""

    engine: str
    reason: str


class Drain(msgspec.Struct, frozen=True, tag=True):
    """Take no more connections, answer what was accepted, end."""


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The replica has loaded what is wanted and takes requests."""


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The replica cannot boot and ends. `reason` is a sentence for the operator."""

    reason: str


class Draining(msgspec.Struct, frozen=True, tag=True):
    """The replica listened and drains now, ordered or because it got SIGTERM itself."""


Message = (
    Boot
    | Wanted
    | Verdict
    | Vote
    | Objection
    | Settle
    | Settled
    | Edit
    | Edited
    | Wake
    | Woken
    | Plan
    | Planned
    | Need
    | EngineUp
    | EngineDown
    | Drain
    | Ready
    | Failed
    | Draining
)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Message).decode


class Channel:
    """One end. Receive in one task only; send from anywhere on the loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, end: socket.socket) -> Channel:
        """A channel that owns this end of a socketpair."""
        return cls(*await asyncio.open_connection(sock=end, limit=MAX_LINE))

    def send(self, message: Message) -> None:
        """Never waits. To a peer that is gone, or does not read, the message is lost and the channel closes."""
        line = _encode(message) + b"\n"
        assert len(line) <= MAX_LINE, f"{type(message).__name__} has {len(line)} bytes, {MAX_LINE} are allowed"
        if self._writer.is_closing():
            return
        self._writer.write(line)
        if self._writer.transport.get_write_buffer_size() > MAX_LINE:
            self._writer.transport.abort()

    async def messages(self) -> AsyncIterator[Message]:
        """What the peer says, until it is gone."""
        while line := await self._line():
            try:
                yield _decode(line)
            except msgspec.DecodeError as error:
                _log.error("control channel: expected a message, found %r (%s)", line[:80], error)
                return

    async def flush(self) -> None:
        """Everything sent is on its way, or the peer is gone."""
        try:
            await self._writer.drain()
        except ConnectionError:
            return

    def close(self) -> None:
        """The peer reads the end of the stream."""
        self._writer.close()

    async def _line(self) -> bytes:
        try:
            line = await self._reader.readline()
        except (ConnectionError, ValueError):  # reset, or longer than MAX_LINE
            return b""
        return line if line.endswith(b"\n") else b""
