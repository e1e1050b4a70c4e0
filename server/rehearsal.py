"""Before a new version is published: does it answer the last real requests as the old one did, and as fast?

Called by the application between load and publication, in every replica with its own requests. Old and new take turns,
so that whatever else the machine does falls on both. Runs beside the requests of the moment, one at a time.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence

from headrace.config import SafeReload
from headrace.errors import BadRequest, ExecutorFailed, LoadFailed
from headrace.executor import Executor
from headrace.requests import Array
from server.difference import difference
from server.recent import Sample
from server.servable import Servable


async def rehearse(new: Servable, old: Servable, samples: Sequence[Sample], checks: SafeReload) -> None:
    """Raises LoadFailed with the first thing that is not as it should be."""
    slowdowns = []
    for number, sample in enumerate(samples, 1):
        where = f"request {number} of the last {len(samples)}"
        try:
            new.check.check(dict(sample.inputs))
            before_s = await _timed(old.executor, sample.inputs) if checks.max_slowdown else 0.0
            started = time.perf_counter()
            outputs = await new.executor.run(sample.inputs)
            slowdowns.append((time.perf_counter() - started) / before_s if before_s else 0.0)
        except (BadRequest, ExecutorFailed) as error:
            raise LoadFailed(f"{where}, which version {old.metadata.id.version} has answered: {error}") from None
        if found := difference(sample.outputs, outputs, checks.tolerance):
            raise LoadFailed(f"{where}: {found}")
    if checks.max_slowdown and slowdowns and statistics.median(slowdowns) > checks.max_slowdown:
        raise LoadFailed(
            f"the last {len(samples)} requests take {statistics.median(slowdowns):.3g} times as long as with version "
            f"{old.metadata.id.version}; allowed are {checks.max_slowdown:g} times"
        )


async def _timed(executor: Executor, inputs: Mapping[str, Array]) -> float:
    started = time.perf_counter()
    await executor.run(inputs)
    return time.perf_counter() - started
