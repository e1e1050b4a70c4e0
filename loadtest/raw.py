"""Any HTTP server: bodies from files, and answers that are compared if they are JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from loadtest.connection import Answer
from loadtest.tensors import Headers, Tensors


def bodies(files: Sequence[Path]) -> list[tuple[Headers, bytes]]:
    """Of each file its bytes, of `.jsonl` each line. Raises ValueError with a sentence."""
    found = []
    for file in files:
        try:
            content = file.read_bytes()
        except OSError as error:
            raise ValueError(f"--body: {file} cannot be read: {error.strerror}") from None
        lines = file.suffix in (".jsonl", ".ndjson")
        is_json = lines or file.suffix == ".json"
        headers = {"content-type": "application/json" if is_json else "application/octet-stream"}
        found += [(headers, body) for body in (content.splitlines() if lines else [content]) if body or not lines]
    return found


def read(answer: Answer) -> Tensors:
    """An answer by its parts: lists that are arrays as these, all else by itself; what is no JSON is one text."""
    try:
        document = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        return {"": np.asarray(answer.content, object)}
    return dict(_parts("", document))


def _parts(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _parts(f"{path}.{name}" if path else name, part)
        return
    array = _numbers(value)
    if isinstance(value, list) and array is None:
        for number, part in enumerate(value):
            yield from _parts(f"{path}[{number}]", part)
    else:
        yield path, np.asarray(value, object) if array is None else array


def _numbers(value: Any) -> npt.NDArray[Any] | None:
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        return None
    return array if array.dtype.kind in "biuf" else None
