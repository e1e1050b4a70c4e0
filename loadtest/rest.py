"""V2 over REST: what a server has, and requests as JSON or with binary tensors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any
from urllib.parse import quote

from loadtest.answers import Decode
from loadtest.client import Client
from loadtest.connection import Answer
from loadtest.target import Model, tensor
from loadtest.tensors import Tensors, decode, encode
from loadtest.where import Where

BINARY = "binary_tensor_data"
"""The extension, by its name in the server's metadata."""


class RestTarget:
    """A `target.Target`. `binary`: tensors follow the JSON in requests and answers, if the server knows how."""

    def __init__(self, where: Where, *, binary: bool = True) -> None:
        self.url = where.url
        self._wanted = binary
        self._client = Client(where)

    @cached_property
    def _binary(self) -> bool:
        """MLServer answers binary tensors with status 500."""
        return self._wanted and BINARY in (self._client.json("GET", "/v2").get("extensions") or ())

    def __enter__(self) -> RestTarget:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def models(self) -> list[str]:
        """See `Target`."""
        index = self._client.json("POST", "/v2/repository/index", {"ready": True})
        return sorted({str(entry["name"]) for entry in index if entry.get("state", "READY") == "READY"})

    def model(self, name: str) -> Model:
        """See `Target`."""
        name, _, version = name.partition("/")
        found = self._client.json("GET", _path(name, version))
        inputs, outputs = (
            tuple(tensor(name, each["name"], each["datatype"], _shape(each)) for each in found.get(side) or ())
            for side in ("inputs", "outputs")
        )
        return Model(name, version, inputs, outputs)

    def request(self, model: Model, tensors: Tensors) -> bytes:
        """See `Target`."""
        headers, body = encode(tensors, binary=self._binary)
        return self._client.request("POST", f"{_path(model.name, model.version)}/infer", headers, body)

    def decode(self, model: Model) -> Decode:
        """See `Target`."""
        return read

    def statistics(self, model: Model) -> Sequence[Any]:
        """See `Target`."""
        found: Sequence[Any] = self._client.json("GET", f"{_path(model.name, model.version)}/stats")["model_stats"]
        return found


def read(answer: Answer) -> Tensors:
    """The outputs in a V2 answer."""
    return decode(answer.content, answer.header_length)


def _path(name: str, version: str) -> str:
    return f"/v2/models/{quote(name, safe='')}" + (f"/versions/{quote(version, safe='')}" if version else "")


def _shape(found: Any) -> tuple[int, ...]:
    return tuple(int(length) for length in found["shape"])
