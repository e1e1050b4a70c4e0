"""A request under way: what the batcher sees of it, whose claim it holds, and whom to answer.

Made by the data plane for a request that was checked, handed to its model's batcher; ends as success, failure or
cancelled, and then counts itself and releases its handle, once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable
from typing import Any

from batcher.account import Account
from batcher.entry import Entry, Outcome
from headrace import cell
from headrace.errors import BadRequest, Cancelled, ExecutorFailed, ServingError
from headrace.requests import Array, InferRequest, InferResponse
from model_repo.handle import Handle
from server import explain
from server.classification import chosen_form
from server.servable import Servable

logger = logging.getLogger("headrace.dataplane")
requests = logging.getLogger("headrace.requests")
"""A line per request at level debug; failures that are ours at warning."""

SHOWN_CHARS = 100
"""Of a request's id, in the log."""

Answer = Callable[[InferResponse | ServingError], None]


class Ticket(Entry):
    """A request under way: an entry of its model's batcher, a claim on the servable, and whom to answer."""

    __slots__ = ("_answer", "_handle", "_request")

    account: Account | None = None
    """What the batcher writes into, if the answer is to say it."""

    def __init__(
        self, request: InferRequest, rows: int, key: Hashable, handle: Handle[Servable], answer: Answer
    ) -> None:
        Entry.__init__(self, request.inputs, rows, key, time.monotonic(), request.client)
        self._request = request
        self._handle = handle
        self._answer = answer

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

    __slots__ = ("account",)

    account: Account

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.account = Account()

    def _end(self, failure: str | None) -> None:
        self._handle.servable.batcher.accounts.close(self)
        super()._end(failure)

    def _respond(self, outputs: dict[str, Array]) -> InferResponse | ServingError:
        response = super()._respond(outputs)
        if isinstance(response, InferResponse):
            response.since = self._request.since
            response.parameters = explain.begin(self.account, response.since, self.arrived)
        return response


class LoggedExplainedTicket(ExplainedTicket, LoggedTicket):
    """Both."""

    __slots__ = ()
