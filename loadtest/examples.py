"""Tensors from files: inputs that are to be sent, or outputs that are expected.

Receives a path and what the tensors should look like, hands a list back: the tensors of each request.

    x.npy             the one tensor of the model
    data.npz          tensors by name, others are passed over, so that inputs and outputs may share a file
    data.jsonl        a request a line: {"x": [[1, 2]]}, or [[1, 2]] for the one tensor, or the body of a V2 request
    request.json      one of these
    folder/           pictures, in the order of their names, for a model with one input (`pictures`)

An array with one axis more than its tensor is a stack of requests; one as deep as its tensor is cut into requests of so
many rows if the first axis is free, else it is one request, or part of every request if there are others.
Raises ValueError with a sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import orjson

from headrace.datatypes import Datatype
from loadtest.target import Tensor
from loadtest.tensors import Tensors, read

Array: TypeAlias = npt.NDArray[Any]
JSON_LINES = (".jsonl", ".ndjson", ".json")


def examples(path: Path, tensors: Sequence[Tensor], rows: int) -> list[Tensors]:
    """What is in a file or folder, at least one of them."""
    try:
        found = _read(path, tensors, rows)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from None
    if not found:
        raise ValueError(f"{path} holds nothing")
    return found


def _read(path: Path, tensors: Sequence[Tensor], rows: int) -> list[Tensors]:
    if path.is_dir():
        from loadtest.pictures import pictures  # noqa: PLC0415 - Pillow need not be there

        return _requests(path, {_only(path, tensors).name: pictures(path, _only(path, tensors))}, tensors, rows)
    if path.suffix in JSON_LINES:
        return list(_lines(path, tensors))
    if path.suffix not in (".npy", ".npz"):
        raise ValueError(f"{path}: expected .npy, .npz, .jsonl or a folder of pictures")
    arrays = {_only(path, tensors).name: _load(path)} if path.suffix == ".npy" else _load(path)
    return _requests(path, {each.name: _cast(path, each, arrays) for each in tensors}, tensors, rows)


def _load(path: Path) -> Any:
    """An array, or arrays by name."""
    try:
        with path.open("rb") as file:
            loaded = np.load(file)
            return loaded if isinstance(loaded, np.ndarray) else dict(loaded)
    except (ValueError, EOFError, BadZipFile) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None


def _only(path: Path, tensors: Sequence[Tensor]) -> Tensor:
    if len(tensors) != 1:
        names = ", ".join(each.name for each in tensors)
        raise ValueError(f"{path}: expected a file with names, .npz or .jsonl: the model has {names}")
    return tensors[0]


def _cast(path: Path, tensor: Tensor, arrays: dict[str, Array]) -> Array:
    if tensor.name not in arrays:
        raise ValueError(f"{path} has no {tensor.name!r}; there are {', '.join(sorted(arrays))}")
    array = arrays[tensor.name]
    if tensor.datatype is Datatype.BYTES:
        return np.asarray(array, str).astype(object)
    if not np.can_cast(array.dtype, tensor.datatype.numpy, "same_kind"):
        raise ValueError(f"{path}: {tensor.name!r} is {array.dtype}, expected {tensor.datatype.value}")
    return array.astype(tensor.datatype.numpy)


def _requests(path: Path, arrays: dict[str, Array], tensors: Sequence[Tensor], rows: int) -> list[Tensors]:
    parts = {each.name: _parts(path, arrays[each.name], each, rows) for each in tensors}
    count = max(map(len, parts.values()), default=0)
    for name, cut in parts.items():
        if len(cut) not in (1, count):
            raise ValueError(f"{path}: {name!r} makes {len(cut)} requests, others make {count}")
    return [{name: cut[number % len(cut)] for name, cut in parts.items()} for number in range(count)]


def _parts(path: Path, array: Array, tensor: Tensor, rows: int) -> list[Array]:
    if array.ndim == len(tensor.shape) + 1:
        parts = list(array)
    elif array.ndim != len(tensor.shape):
        shape = f"{tensor.name!r} has shape {list(array.shape)}"
        raise ValueError(f"{path}: {shape}, expected {list(tensor.shape)} or a stack of these")
    elif tensor.shape[:1] == (-1,):
        parts = [array[at : at + rows] for at in range(0, len(array), rows)]
    else:
        parts = [array]
    for part in parts[:1]:
        _fits(f"{path}", part, tensor)
    return parts


def _fits(where: str, array: Array, tensor: Tensor) -> None:
    pairs = zip(array.shape, tensor.shape, strict=False)
    if array.ndim != len(tensor.shape) or any(expected not in (-1, found) for found, expected in pairs):
        raise ValueError(f"{where}: {tensor.name!r} has shape {list(array.shape)}, expected {list(tensor.shape)}")


def _lines(path: Path, tensors: Sequence[Tensor]) -> list[Tensors]:
    found: list[Tensors] = []
    content = path.read_bytes()
    for number, line in enumerate([content] if path.suffix == ".json" else content.splitlines(), 1):
        if line.strip():
            where = f"{path}, line {number}"
            try:
                found.append(_line(where, orjson.loads(line), tensors))
            except orjson.JSONDecodeError as error:
                raise ValueError(f"{where} is not JSON: {error}") from None
    return found


def _line(where: str, document: Any, tensors: Sequence[Tensor]) -> Tensors:
    if isinstance(document, dict) and isinstance(document.get("inputs"), list):
        try:
            values: dict[str, Any] = dict(read(document["inputs"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{where} is no V2 request: {type(error).__name__}: {error}") from None
    elif isinstance(document, dict):
        values = document
    else:
        values = {_only(Path(where), tensors).name: document}
    for each in tensors:
        if each.name not in values:
            raise ValueError(f"{where} has no {each.name!r}; there are {', '.join(values)}")
    return {each.name: _value(where, values[each.name], each) for each in tensors}


def _value(where: str, value: Any, tensor: Tensor) -> Array:
    try:
        array = np.asarray(value, tensor.datatype.numpy)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {tensor.name!r} is no {tensor.datatype.value}: {error}") from None
    if array.ndim == len(tensor.shape) - 1 and tensor.shape[:1] == (-1,):
        array = array[np.newaxis]
    _fits(where, array, tensor)
    return array
