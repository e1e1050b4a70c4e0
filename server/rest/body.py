"""The body of an ASGI request, read whole."""

from __future__ import annotations

from starlette.types import Receive

from headrace.errors import Cancelled
from server.rest.answers import too_large


async def whole_body(receive: Receive, limit: int) -> bytes:
    """The whole body. Raises TooLarge as soon as it is longer than `limit`, Cancelled if the client goes away."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Cancelled("the client went away")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise too_large("is longer", limit)
        chunks.append(chunk)
        if not message.get("more_body"):
            return b"".join(chunks)
