"""TensorFlow Serving's REST, which KServe calls V1: `/v1/models/NAME:predict`, tensors as nested JSON lists.

Inputs that all have a free first axis go in rows (`instances`), which every server of this kind takes; others go in
columns (`inputs`), which is TensorFlow Serving's own. What a model takes is read from its `metadata`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

import numpy as np
import orjson

from headrace.datatypes import Datatype
from loadtest.answers import Decode
from loadtest.client import Client
from loadtest.connection import Answer
from loadtest.target import Model, TargetError, Tensor
from loadtest.tensors import Tensors
from loadtest.where import Where

SIGNATURE = "serving_default"
DATATYPES = {
    "DT_BOOL": Datatype.BOOL,
    "DT_UINT8": Datatype.UINT8,
    "DT_UINT16": Datatype.UINT16,
    "DT_UINT32": Datatype.UINT32,
    "DT_UINT64": Datatype.UINT64,
    "DT_INT8": Datatype.INT8,
    "DT_INT16": Datatype.INT16,
    "DT_INT32": Datatype.INT32,
    "DT_INT64": Datatype.INT64,
    "DT_HALF": Datatype.FP16,
    "DT_FLOAT": Datatype.FP32,
    "DT_DOUBLE": Datatype.FP64,
    "DT_BFLOAT16": Datatype.BF16,
    "DT_STRING": Datatype.BYTES,
}


class PredictTarget:
    """A `target.Target`."""

    def __init__(self, where: Where) -> None:
        self.url = where.url
        self._client = Client(where)

    def __enter__(self) -> PredictTarget:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def models(self) -> list[str]:
        """See `Target`. Only some of these servers say."""
        if self._client.ask("GET", "/v1/models").status_code != 200:
            raise TargetError(f"{self.url} does not list its models")
        return sorted(map(str, self._client.json("GET", "/v1/models")["models"]))

    def model(self, name: str) -> Model:
        """See `Target`."""
        name, _, version = name.partition("/")
        path = f"{_path(name, version)}/metadata"
        found = self._client.json("GET", path)
        try:
            signature = found["metadata"]["signature_def"]["signature_def"][SIGNATURE]
            inputs, outputs = (
                tuple(_tensor(name, *item) for item in sorted(signature[side].items()))
                for side in ("inputs", "outputs")
            )
        except (KeyError, TypeError):
            raise TargetError(f"{self.url}{path} names no signature {SIGNATURE!r}: send bodies with --body") from None
        return Model(name, version, inputs, outputs)

    def request(self, model: Model, tensors: Tensors) -> bytes:
        """See `Target`."""
        headers = {"content-type": "application/json"}
        return self._client.request(
            "POST", f"{_path(model.name, model.version)}:predict", headers, orjson.dumps(_document(model, tensors))
        )

    def decode(self, model: Model) -> Decode:
        """See `Target`."""
        return partial(read, [output.name for output in model.outputs])

    def statistics(self, model: Model) -> Sequence[Any]:
        """See `Target`."""
        raise TargetError(f"{self.url} has no statistics")


def _document(model: Model, tensors: Tensors) -> dict[str, Any]:
    lists = {name: array.tolist() for name, array in tensors.items()}
    if all(each.shape[:1] == (-1,) for each in model.inputs):
        if len(lists) == 1:
            return {"instances": next(iter(lists.values()))}
        rows = zip(*lists.values(), strict=True)
        return {"instances": [dict(zip(lists, row, strict=True)) for row in rows]}
    return {"inputs": lists}


def read(names: Sequence[str], answer: Answer) -> Tensors:
    """The outputs in an answer: `predictions` in rows or `outputs` in columns. One alone comes without its name."""
    document = orjson.loads(answer.content)
    found = document["outputs"] if "outputs" in document else document["predictions"]
    if "outputs" not in document and found and isinstance(found[0], dict):
        found = {name: [row[name] for row in found] for name in found[0]}
    if not isinstance(found, dict):
        found = {(names[0] if len(names) == 1 else "predictions"): found}
    return {name: _array(values) for name, values in found.items()}


def _array(values: Any) -> Any:
    array = np.asarray(values)
    return array.astype(object) if array.dtype.kind == "U" else array


def _path(name: str, version: str) -> str:
    return f"/v1/models/{quote(name, safe='')}" + (f"/versions/{quote(version, safe='')}" if version else "")


def _tensor(model: str, name: str, found: Any) -> Tensor:
    datatype = DATATYPES.get(found["dtype"])
    if datatype is None:
        raise TargetError(f"model {model!r}: tensor {name!r} has the unknown datatype {found['dtype']!r}")
    if found["tensor_shape"].get("unknown_rank"):
        raise TargetError(f"model {model!r}: tensor {name!r} has no rank: send bodies with --body")
    return Tensor(name, datatype, tuple(int(each["size"]) for each in found["tensor_shape"].get("dim", ())))
