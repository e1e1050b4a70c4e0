"""One path for every request, whatever protocol it came by.

    InferRequest -> handle on a servable -> check -> Batcher.submit ... deliver -> outputs asked for -> InferResponse

Receives decoded requests from the REST short cut, the REST application and gRPC; answers through a callback, because
a task per request would cost more than everything else here. Invariants: 1. a handle is held from submit to delivery
and released exactly once. 2. `deliver` is called exactly once, on the event loop, unless the ticket is cancelled.
3. Every request that names a loaded model is counted once, as success or failure.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Hashable

from batcher.account import Account
from batcher.entry import Entry, Outcome
from headrace import cell
from headrace.counters import ModelCounters
from headrace.errors import BadRequest, Cancelled, ExecutorFailed, ServingError
from headrace.requests import Array, InferRequest, InferResponse
from model_repo.handle import Handle
from model_repo.manager import Manager
from server import explain
from server.classification import chosen_form
from server.servable import Servable
from server.waiting import Cancellable, Enter, Refuse, Waiting, WaitingRoom

logger = logging.getLogger("headrace.dataplane")
requests = logging.getLogger("headrace.requests")
"""A line per request at level debug; failures that are ours at warning."""

SHOWN_CHARS = 100
"""Of a request's id, in the log."""

LONGEST_WAIT_US = 60_000_000
"""For a model that is asleep, of those who only want to know about it and give no timeout."""

Answer = Callable[[InferResponse | ServingError], None]


class DataPlane:
    """The front ends' view of everything behind them. Used from the event loop only."""

    def __init__(self, models: Manager[Servable], refusals: ModelCounters, room: WaitingRoom | None = None) -> None:
        self.models = models
        self._room = room
        self._refusals = refusals
        logged = requests.isEnabledFor(logging.DEBUG)
        self._ticket = LoggedTicket if logged else Ticket
        self._explained = LoggedExplainedTicket if logged else ExplainedTicket

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
        try:
            rows, key = servable.check.check(request.inputs)
            if request.outputs is not None:
                servable.check.check_outputs(request.outputs)
            kind = self._explained if request.explain else self._ticket
            ticket = kind(request, rows, key, handle, answer)
            if request.priority:
                ticket.rank += servable.priorities.later_s(request.priority)
            if servable.check.padding is not None:
                ticket.length, ticket.key = servable.check.line(request.inputs)
            servable.batcher.submit(ticket, (request.timeout_us or servable.default_timeout_us) / 1e6)
            if request.explain:
                ticket.submitted()
        except ServingError as error:
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


class Ticket(Entry):
    """A request under way: an entry of its model's batcher, a claim on the servable, and whom to answer."""

    __slots__ = ("_answer", "_handle", "_request")

    def __init__(
        self, request: InferRequest, rows: int, key: Hashable, handle: Handle[Servable], answer: Answer
    ) -> None:
        super().__init__(request.inputs, rows, key, time.monotonic(), request.client)
        self._request = request
        self._handle = handle
        self._answer = answer

    def submitted(self) -> None:
        """It is in the queue. Called only for requests that are to be explained."""

    def cancel(self) -> None:
        """The client went away. Nothing is answered from here on."""
        if not self.done:
            self._handle.servable.batcher.cancel(self)
            self._end(Cancelled.slug)

    def deliver(self, outcome: Outcome) -> None:
        """Called by the batcher: answer."""
        servable = self._handle.servable
        result: InferResponse | ServingError
        if isinstance(outcome, ServingError):
            result = outcome
            if isinstance(outcome, (ExecutorFailed, BadRequest)):
                servable.trial.failed()
        else:
            result = self._respond(outcome)
            if servable.recent is not None:
                servable.recent.keep(self.inputs, outcome)
        if isinstance(result, ExecutorFailed):
            requests.warning("%s", result, extra={"request_id": self._request.id[:SHOWN_CHARS]})
        self._end(result.slug if isinstance(result, ServingError) else None)
        self._answer(result)

    def _end(self, failure: str | None) -> None:
        """Count and release the handle."""
        counters = self._handle.servable.counters
        took_ns = int((time.monotonic() - self.arrived) * 1e9)
        counters.cells[cell.IN_FLIGHT] -= 1
        if failure is None:
            counters.succeeded(took_ns)
        else:
            counters.failed(failure, took_ns)
        self._handle.release()

    def _respond(self, outputs: dict[str, Array]) -> InferResponse | ServingError:
        request, metadata = self._request, self._handle.servable.metadata
        if request.outputs is None:
            return InferResponse(metadata.id, request.id, outputs)
        try:
            chosen = {wish.name: chosen_form(wish, outputs[wish.name], metadata) for wish in request.outputs}
        except ServingError as error:
            return error
        except Exception as error:  # the client must hear something, whatever went wrong here
            logger.exception("model %s: an answer could not be made", metadata.id)
            return ExecutorFailed(f"model {metadata.id.name!r}: {type(error).__name__}: {error}")
        return InferResponse(metadata.id, request.id, chosen)


class LoggedTicket(Ticket):
    """One whose end is logged. A class of its own, so that nobody pays for the question."""

    __slots__ = ()

    def _end(self, failure: str | None) -> None:
        about = {
            "request_id": self._request.id[:SHOWN_CHARS],
            "model": self._handle.spec.id,
            "rows": self.rows,
            "outcome": failure or "ok",
            "ms": round((time.monotonic() - self.arrived) * 1e3, 3),
        }
        super()._end(failure)
        requests.debug("request", extra=about)


class ExplainedTicket(Ticket):
    """One whose answer says where its time went."""

    __slots__ = ("_account",)

    _account: Account

    def submitted(self) -> None:
        """See `Ticket`."""
        self._account = self._handle.servable.batcher.accounts.open(self)

    def _end(self, failure: str | None) -> None:
        self._handle.servable.batcher.accounts.close(self)
        super()._end(failure)

    def _respond(self, outputs: dict[str, Array]) -> InferResponse | ServingError:
        response = super()._respond(outputs)
        if isinstance(response, InferResponse):
            response.since = self._request.since
            response.parameters = explain.begin(self._account, response.since, self.arrived)
        return response


class LoggedExplainedTicket(ExplainedTicket, LoggedTicket):
    """Both."""

    __slots__ = ()
