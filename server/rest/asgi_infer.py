"""Inference under ASGI: what fell through the short cut, and other addresses than V2's for the same data plane.

Receives headers and body from a route, hands back a `Reply`: the same functions as on the short cut (answers.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from fastapi import Response
from starlette.types import Receive

from headrace.errors import Cancelled, ServingError
from headrace.requests import InferRequest, InferResponse
from server.dataplane import DataPlane
from server.rest.answers import Reply, read, refusal, refused_unread, reply, too_large
from server.rest.body import whole_body
from server.rest.head import read_head


@dataclass(frozen=True, slots=True)
class AsgiInfer:
    """Over one data plane, with the server's limits."""

    plane: DataPlane
    max_body_bytes: int
    refuse_status: int

    async def answer(
        self, headers: Iterable[tuple[bytes, bytes]], receive: Receive, model: str, version: str = ""
    ) -> Reply:
        """The answer to one request; a refusal is one too."""
        plane = self.plane
        try:
            head = read_head(headers)
            if (head.content_length or 0) > self.max_body_bytes:
                raise too_large(f"has {head.content_length} bytes", self.max_body_bytes)
            body = await whole_body(receive, self.max_body_bytes)
            unread = refused_unread(plane, model, version, head, body)
            if unread is not None:
                return refusal(unread, self.refuse_status)
            if head.header_length == 0:
                await plane.awake(model, version)  # without it the body cannot be read
            wanted = read(plane, model, version, head, body, self.max_body_bytes)
        except Exception as error:
            return self.refused(error)
        try:
            outcome: InferResponse | ServingError = await self._unless_gone(wanted, receive)
        except ServingError as error:
            outcome = error
        return reply(outcome, wanted, head, self.refuse_status)

    def refused(self, error: Exception) -> Reply:
        """What never became a request, counted and answered."""
        self.plane.refused(error)
        return refusal(error, self.refuse_status)

    async def _unless_gone(self, request: InferRequest, receive: Receive) -> InferResponse:
        """The answer; if the client goes away first, the request is cancelled and Cancelled is raised."""

        async def gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        answer = asyncio.ensure_future(self.plane.infer(request))
        watch = asyncio.ensure_future(gone())
        try:
            await asyncio.wait((answer, watch), return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise Cancelled("the client went away")
            return answer.result()
        finally:
            watch.cancel()
            answer.cancel()
            await asyncio.gather(answer, watch, return_exceptions=True)


def response(answer: Reply) -> Response:
    """A reply as Starlette sends it."""
    made = Response(answer.body, answer.status, media_type=None)
    made.headers["content-type"] = answer.content_type.decode()
    for name, value in answer.extra:
        made.headers[name.decode()] = value.decode()
    return made
