"""One infer request on the short cut, from its whole body to its answer.

Made by the connection (`shortcut.py`) when a head is found plain; hands the request to the data plane and the finished
answer to `reply`. Invariants: 1. `reply` is called exactly once, unless the client is said to be gone first. 2. A
client that is gone has no place in a queue.
"""

from __future__ import annotations

from collections.abc import Callable

from headrace.errors import ModelNotFound, ModelNotReady, ServingError
from headrace.requests import InferRequest, InferResponse
from server.rest.answers import Reply, read, refusal, refused_unread, reply
from server.rest.head import Head
from server.rest.site import Site, Target
from server.waiting import Cancellable


class _NoEvent:
    """Stands for the event of an ASGI cycle where uvicorn sets it for whoever waits: nobody does."""

    def set(self) -> None:
        pass


class Turn:
    """One infer request on the short cut, and its answer. To uvicorn it looks like the cycle of an ASGI request."""

    __slots__ = (
        "_client",
        "_head",
        "_reply",
        "_request",
        "_site",
        "_target",
        "_ticket",
        "keep_alive",
        "response_complete",
    )

    message_event = _NoEvent()

    def __init__(
        self, site: Site, reply: Callable[[Reply, bool], None], target: Target, head: Head, client: int = 0
    ) -> None:
        self._site = site
        self._reply = reply
        self._target = target
        self._head = head
        self._client = client
        self._request: InferRequest | None = None
        self._ticket: Cancellable | None = None
        self.keep_alive = True
        self.response_complete = False

    def refused_by(self, begun: bytes) -> bool:
        """Whether it is refused, and answered, by what has come of its body: the rest is not needed."""
        head = self._head
        whole = len(begun) == head.content_length
        if whole or self._site.draining or head.header_length is None or len(begun) < head.header_length:
            return False
        return self._refused_unread(begun)

    def begin(self, body: bytes) -> None:
        """The body is whole: decode and submit, unless it is refused whatever it says."""
        site, target = self._site, self._target
        if site.plane.overloaded and self._refused_unread(body):
            return
        try:
            self._request = read(site.plane, target.model, target.version, self._head, body, site.max_body_bytes)
        except Exception as error:
            if isinstance(error, ModelNotReady | ModelNotFound) and site.plane.may_wait(target.model):
                self._wait(body)
            else:
                self._refuse(error)
            return
        self._request.client = self._client
        try:
            self._ticket = site.plane.submit(self._request, self._answer)
        except Exception as error:
            self._write(refusal(error, site.refuse_status))

    def _refused_unread(self, body: bytes) -> bool:
        target = self._target
        refused = refused_unread(self._site.plane, target.model, target.version, self._head, body)
        if refused is not None:
            self._write(self._site.refusal(refused))
        return refused is not None

    def _wait(self, body: bytes) -> None:
        """A body without a head of its own can only be read once its model, which is asleep, is there."""
        target = self._target
        try:
            self._ticket = self._site.plane.wait(target.model, target.version, lambda _: self.begin(body), self._refuse)
        except ServingError as error:
            self._refuse(error)

    def _refuse(self, error: Exception) -> None:
        self._site.plane.refused(error)
        self._write(refusal(error, self._site.refuse_status))

    @property
    def disconnected(self) -> bool:
        """Whether the client is known to be gone."""
        return self.response_complete

    @disconnected.setter
    def disconnected(self, gone: bool) -> None:  # uvicorn says so in connection_lost
        if gone and not self.response_complete:
            self.response_complete = True
            if self._ticket is not None:
                self._ticket.cancel()

    def _answer(self, outcome: InferResponse | ServingError) -> None:
        assert self._request is not None
        self._write(reply(outcome, self._request, self._head, self._site.refuse_status))

    def _write(self, answer: Reply) -> None:
        self._ticket = self._request = None
        self.response_complete = True
        self._reply(answer, self.keep_alive)
