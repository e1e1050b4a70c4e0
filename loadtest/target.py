"""What a V2 server has: which models are ready, and what their inputs look like. Before the load.

Everything that can be wrong with a server or a model is a `TargetError` with one sentence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx

from headrace.datatypes import BY_NAME, Datatype
from loadtest.tensors import Headers, Tensors, encode

TIMEOUT_S = 10.0


class TargetError(Exception):
    """There is nothing to send requests to."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input by its metadata; -1 in `shape` is any length."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Model:
    """A model that is ready."""

    name: str
    version: str
    inputs: tuple[Tensor, ...]

    @property
    def path(self) -> str:
        """Where its infer requests go."""
        version = f"/versions/{self.version}" if self.version else ""
        return f"/v2/models/{self.name}{version}/infer"


class Target(Protocol):
    """A server. A context manager, as it holds a client."""

    url: str

    def __enter__(self) -> Target: ...

    def __exit__(self, *_: object) -> None: ...

    def models(self) -> list[str]:
        """Names of the models that are ready. Raises TargetError."""
        ...

    def model(self, name: str) -> Model:
        """`NAME` or `NAME/VERSION`, with what it takes. Raises TargetError."""
        ...

    def request(self, model: Model, tensors: Tensors) -> bytes:
        """The bytes of an infer request, ready to be sent."""
        ...


class RestTarget:
    """A `Target` over REST. `binary`: tensors follow the JSON in requests and answers."""

    def __init__(self, url: str, *, binary: bool = True) -> None:
        self.url = url
        self._binary = binary
        self._client = httpx.Client(base_url=self.url, timeout=TIMEOUT_S)

    def __enter__(self) -> RestTarget:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def models(self) -> list[str]:
        """See `Target`."""
        index = self._json("POST", "/v2/repository/index", {"ready": True})
        return sorted({str(entry["name"]) for entry in index if entry.get("state", "READY") == "READY"})

    def model(self, name: str) -> Model:
        """See `Target`."""
        name, _, version = name.partition("/")
        path = f"/v2/models/{name}" + (f"/versions/{version}" if version else "")
        found = self._json("GET", path)
        return Model(name, version, tuple(_tensor(name, each) for each in found["inputs"]))

    def request(self, model: Model, tensors: Tensors) -> bytes:
        """See `Target`."""
        return http_post(model.path, urlsplit(self.url).netloc, *encode(tensors, binary=self._binary))

    def _json(self, method: str, path: str, body: Any = None) -> Any:
        try:
            answer = self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise TargetError(f"{self.url} cannot be reached: {error}") from None
        if answer.status_code != 200:
            raise TargetError(f"{self.url}{path} answered {answer.status_code}: {_said(answer)}")
        try:
            return answer.json()
        except ValueError:
            raise TargetError(f"{self.url}{path} answered something that is not JSON: is it a V2 server?") from None


def _tensor(model: str, found: Any) -> Tensor:
    datatype = BY_NAME.get(found["datatype"])
    if datatype is None:
        raise TargetError(f"model {model!r}: input {found['name']!r} has the unknown datatype {found['datatype']!r}")
    return Tensor(found["name"], datatype, tuple(int(length) for length in found["shape"]))


def _said(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:200] or answer.reason_phrase


def http_post(path: str, host: str, headers: Headers, body: bytes) -> bytes:
    """The bytes of an HTTP/1.1 request."""
    lines = [f"POST {path} HTTP/1.1", f"host: {host}", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join((*lines, "", "")).encode() + body
