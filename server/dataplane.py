"""One path for every request, whatever protocol it came by.

    undecoded --> refuse_unread: in overload, who would be refused whatever the body says is not decoded
    InferRequest -> handle on a servable -> check -> Batcher.submit ... deliver -> outputs asked for -> InferResponse

Receives requests from the REST short cut, the REST application and gRPC; answers through a callback, because
a task per request would cost more than everything else here. Invariants: 1. a handle is held from submit to delivery
and released exactly once. 2. `deliver` is called exactly once, on the event loop, unless the ticket is cancelled.
3. Every request that names a loaded model is counted once, as success or failure.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from headrace import cell
from headrace.counters import ModelCounters
from headrace.errors import Overloaded, ServingError
from headrace.requests import InferRequest, InferResponse
from model_repo.manager import Manager
from server.servable import Servable
from server.ticket import (
    SHOWN_CHARS,
    Answer,
    ExplainedTicket,
    LoggedExplainedTicket,
    LoggedTicket,
    Ticket,
    requests,
)
from server.waiting import Cancellable, Enter, Refuse, Waiting, WaitingRoom

OVERLOAD_S = 1.0
"""So long after a refusal the requests for that model are looked at before they are decoded. It takes 2 us."""

LONGEST_WAIT_US = 60_000_000
"""For a model that is asleep, of those who only want to know about it and give no timeout."""


class DataPlane:
    """The front ends' view of everything behind them. Used from the event loop only.

    `overload` is called for each refusal for want of time or room, with the seconds that the request had; 0: any.
    """

    def __init__(
        self,
        models: Manager[Servable],
        refusals: ModelCounters,
        room: WaitingRoom | None = None,
        overload: Callable[[float], None] = lambda timeout_s: None,
    ) -> None:
        self.models = models
        self._overload = overload
        self._room = room
        self._refusals = refusals
        self.overloaded: dict[str, float] = {}
        """Models that have refused a request for want of time or room -> when that is forgotten. Mostly empty."""
        self._logged = requests.isEnabledFor(logging.DEBUG)
        self._ticket = LoggedTicket if self._logged else Ticket
        self._explained = LoggedExplainedTicket if self._logged else ExplainedTicket

    def refuse_unread(self, model: str, version: str, timeout_us: int) -> Overloaded | None:
        """The refusal that `submit` would raise whatever else the request says; None: decode it, and submit.

        For requests of the usual priority that are not decoded yet, for models in `overloaded`, so that those who have
        nobody to refuse are not asked. `timeout_us` 0: the request gives none.
        """
        now = time.monotonic()
        if self.overloaded[model] < now:
            del self.overloaded[model]
            return None
        try:
            servable = self.models.look(model, version)
        except ServingError:
            return None
        if self.models.splits(model, version):
            return None  # whose turn it is may depend on an id
        timeout_s = (timeout_us or servable.default_timeout_us) / 1e6
        error = servable.batcher.refuse_unread(timeout_s)
        if error is not None:
            self.overloaded[model] = now + OVERLOAD_S
            self._overload(timeout_s)
            servable.counters.failed(error.slug)
            if self._logged:
                requests.debug("refused: %s", error, extra={"request_id": ""})
        return error

    def submit(self, request: InferRequest, answer: Answer) -> Cancellable:
        """Start a request. Raises ServingError if it is refused at once; else `answer` gets the outcome later.

        A request for a model that is asleep waits for it, and answers a refusal later too.
        """
        try:
            handle = self.models.acquire(request.model, request.version, request.sticky, request.id)
        except ServingError as error:
            if self.may_wait(request.model):
                return self._wait(request, answer)
            self.refused(error, request)
            raise
        servable = handle.servable
        check = servable.check
        try:
            rows, key = check.check(request.inputs)
            if request.outputs is not None:
                check.check_outputs(request.outputs)
            kind = self._explained if request.explain else self._ticket
            ticket = kind(request, rows, key, handle, answer)
            if request.priority:
                ticket.rank += servable.priorities.later_s(request.priority)
            if check.padding is not None:
                ticket.length, ticket.key = check.line(request.inputs)
            elif check.varies:
                ticket.length = check.elements(request.inputs, rows)
            timeout_s = (request.timeout_us or servable.default_timeout_us) / 1e6
            servable.batcher.submit(ticket, timeout_s, ticket.account)
        except ServingError as error:
            if isinstance(error, Overloaded):
                self.overloaded[request.model] = time.monotonic() + OVERLOAD_S
                self._overload((request.timeout_us or servable.default_timeout_us) / 1e6)
            servable.counters.failed(error.slug)
            handle.release()
            requests.debug("refused: %s", error, extra={"request_id": request.id[:SHOWN_CHARS]})
            raise
        servable.counters.cells[cell.IN_FLIGHT] += 1
        return ticket

    def may_wait(self, model: str) -> bool:
        """Whether requests for the model, which is not there, wait until it is: it is asleep or coming."""
        return self._room is not None and self._room.is_for(model)

    def wait(self, model: str, version: str, enter: Enter, refuse: Refuse, timeout_us: int = 0) -> Cancellable:
        """Wait for a model of which `may_wait` is true. Raises ServingError if there is no room for more."""
        assert self._room is not None
        return self._room.wait(model, version, timeout_us, enter, refuse)

    async def awake(self, model: str, version: str) -> None:
        """Returns when the model can be asked, or will not come: at once unless it is asleep. Raises ServingError."""
        try:
            self.models.acquire(model, version).release()
        except ServingError:
            if not self.may_wait(model):
                return  # whoever asks next hears why
            there: asyncio.Future[ServingError | None] = asyncio.get_running_loop().create_future()

            def told(refusal: ServingError | None) -> None:
                if not there.done():
                    there.set_result(refusal)

            waiting = self.wait(model, version, lambda _: told(None), told, LONGEST_WAIT_US)
            try:
                refusal = await there
            finally:
                waiting.cancel()
            if refusal is not None:
                raise refusal from None

    def _wait(self, request: InferRequest, answer: Answer) -> Cancellable:
        def enter(waiting: Waiting) -> Cancellable | None:
            request.timeout_us = waiting.left_us()
            try:
                ticket = self.submit(request, answer)
            except ServingError as error:
                answer(error)
                return None
            if isinstance(ticket, Ticket):
                ticket.arrived = waiting.since  # what the client waits for counts
            return ticket

        def refuse(error: ServingError) -> None:
            self.refused(error, request)
            answer(error)

        try:
            return self.wait(request.model, request.version, enter, refuse, request.timeout_us)
        except ServingError as error:
            self.refused(error, request)
            raise

    def refused(self, error: Exception, request: InferRequest | None = None) -> None:
        """Count a request that never got as far as a loaded model. None: it could not even be decoded."""
        requests.debug("refused: %s", error, extra={"request_id": request.id[:SHOWN_CHARS] if request else ""})
        self._refusals.failed(error.slug if isinstance(error, ServingError) else ServingError.slug)

    async def infer(self, request: InferRequest) -> InferResponse:
        """`submit` for callers that have a task; cancelling it cancels the request. Raises ServingError."""
        outcome: asyncio.Future[InferResponse | ServingError] = asyncio.get_running_loop().create_future()

        def settle(result: InferResponse | ServingError) -> None:
            if not outcome.done():  # cancelled in this very turn of the loop: nobody waits any more
                outcome.set_result(result)

        ticket = self.submit(request, settle)
        try:
            result = await outcome
        except asyncio.CancelledError:
            ticket.cancel()
            raise
        if isinstance(result, ServingError):
            raise result
        return result
