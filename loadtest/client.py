"""HTTP before the load: questions to the server, and the bytes of the requests that the load will send.

Both carry the headers that were asked for. Raises TargetError with a sentence for a server that does not answer.
"""

from __future__ import annotations

import gzip
from typing import Any

import httpx

from loadtest.target import TIMEOUT_S, TargetError
from loadtest.tensors import Headers
from loadtest.where import Where


class Client:
    """Asks one server. Close it."""

    def __init__(self, where: Where) -> None:
        self.where = where
        self._client = httpx.Client(base_url=where.url, headers=dict(where.headers), timeout=TIMEOUT_S)

    def close(self) -> None:
        """Nothing is asked any more."""
        self._client.close()

    def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """The answer, whatever its status."""
        try:
            return self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise TargetError(f"{self.where.url} cannot be reached: {error}") from None

    def json(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON in an answer with status 200."""
        answer = self.ask(method, path, body)
        if answer.status_code != 200:
            raise TargetError(f"{self.where.url}{path} answered {answer.status_code}: {_said(answer)}")
        try:
            return answer.json()
        except ValueError:
            raise TargetError(f"{self.where.url}{path} answered something that is not JSON") from None

    def request(self, method: str, path: str, headers: Headers, body: bytes = b"") -> bytes:
        """The bytes of an HTTP/1.1 request, packed if the load is to be."""
        where = self.where
        headers = {"host": where.netloc} | headers | dict(where.headers)
        if where.gzip:
            headers["accept-encoding"] = "gzip"
            if body:
                headers["content-encoding"] = "gzip"
                body = gzip.compress(body, mtime=0)
        if body or method != "GET":
            headers["content-length"] = str(len(body))
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join((*lines, "", "")).encode() + body


def _said(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:200] or answer.reason_phrase
