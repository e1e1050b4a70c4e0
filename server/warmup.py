"""Warm a version up with requests that its owner has put beside it: `MODEL/warmup/*.json` and `*.npz`.

JSON files are V2 requests as over REST, npz files have an array per input. Called between load and publication. A
version that does not take one of them is not published.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from headrace.errors import LoadFailed, ServingError
from headrace.requests import Array
from server.rest import codec
from server.servable import Servable


async def warm_up(servable: Servable, files: Sequence[Path]) -> None:
    """Run each of `files`, one after the other. Raises LoadFailed naming the file."""
    for file in files:
        try:
            inputs = _read(file, servable)
            servable.check.check(inputs)
            await servable.executor.run(inputs)
        except (ServingError, OSError, ValueError) as error:
            raise LoadFailed(f"model {servable.metadata.id}: warm-up request {file.name}: {error}") from None


def _read(file: Path, servable: Servable) -> dict[str, Array]:
    if file.suffix == ".json":
        return codec.decode(servable.metadata.id.name, "", file.read_bytes()).inputs
    with np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)
