"""V2 over REST, as a client: tensors -> the bytes of an infer request, the bytes of its answer -> tensors.

Wire format: Open Inference Protocol, REST, and Triton's "binary tensor data" extension: the body is JSON, then the
tensors in the order of the JSON; `Inference-Header-Content-Length` tells where the JSON ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import orjson

from headrace.datatypes import BY_NAME, BY_NUMPY, Datatype

Tensors: TypeAlias = Mapping[str, npt.NDArray[Any]]
Headers: TypeAlias = dict[str, str]

HEADER_LENGTH = "inference-header-content-length"


def encode(tensors: Tensors, *, binary: bool) -> tuple[Headers, bytes]:
    """Headers and body of a request for all outputs, in the same form as the inputs."""
    inputs: list[dict[str, Any]] = []
    tail: list[bytes] = []
    for name, array in tensors.items():
        datatype = BY_NUMPY[array.dtype]
        item: dict[str, Any] = {"name": name, "shape": list(array.shape), "datatype": datatype.value}
        if binary:
            tail.append(to_raw(array))
            item["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            item["data"] = array.ravel().tolist()
        inputs.append(item)
    document: dict[str, Any] = {"inputs": inputs}
    if not binary:
        return {"content-type": "application/json"}, orjson.dumps(document)
    document["parameters"] = {"binary_data_output": True}
    head = orjson.dumps(document)
    return {"content-type": "application/octet-stream", HEADER_LENGTH: str(len(head))}, b"".join((head, *tail))


def decode(body: bytes, header_length: int | None = None) -> dict[str, npt.NDArray[Any]]:
    """The outputs in an answer. Raises ValueError for what is none."""
    if header_length is None:
        return read(orjson.loads(body)["outputs"])
    return read(orjson.loads(body[:header_length])["outputs"], body[header_length:])


def read(items: Sequence[Any], tail: bytes = b"") -> dict[str, npt.NDArray[Any]]:
    """The tensors of V2's `inputs` or `outputs`; binary ones are in `tail`, one after the other."""
    found: dict[str, npt.NDArray[Any]] = {}
    at = 0
    for item in items:
        datatype = BY_NAME[item["datatype"]]
        size = (item.get("parameters") or {}).get("binary_data_size")  # KServe sends null
        if size is None:
            flat = np.asarray(item["data"], datatype.numpy)
        else:
            flat = from_raw(datatype, tail[at : at + size])
            at += size
        found[item["name"]] = flat.reshape(item["shape"])
    return found


def to_raw(array: npt.NDArray[Any]) -> bytes:
    """The elements in row-major order, little-endian; text as its length in four bytes, then UTF-8."""
    if array.dtype != object:
        return np.ascontiguousarray(array).tobytes()
    texts = [text.encode() for text in array.ravel()]
    return b"".join(part for text in texts for part in (len(text).to_bytes(4, "little"), text))


def from_raw(datatype: Datatype, raw: bytes) -> npt.NDArray[Any]:
    """The elements, flat. See `to_raw`."""
    if datatype is not Datatype.BYTES:
        return np.frombuffer(raw, datatype.numpy)
    texts, at = [], 0
    while at < len(raw):
        size = int.from_bytes(raw[at : at + 4], "little")
        texts.append(raw[at + 4 : at + 4 + size].decode())
        at += 4 + size
    return np.array(texts, object)
