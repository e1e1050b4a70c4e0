"""The one seam between batching and devices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from headrace.requests import Array


class Executor(Protocol):
    """Runs batches of one loaded model version.

    Called from the event loop only. Up to `slots` calls of `run` may be under way at once; a free slot pulls the next
    batch. A run cannot be cancelled half-way: cancelling its task leaves the run to finish unseen.
    """

    slots: int

    async def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """One forward pass: input name -> array in, output name -> array out, every output of the model.

        Raises BadRequest if the runtime rejects these values, ExecutorFailed for every other failure of the run.
        """
        ...

    async def close(self) -> None:
        """Give back device and memory. No run is under way and none follows."""
        ...
