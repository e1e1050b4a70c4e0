"""How many threads a session gets, and how many runs at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from executor.providers import CPU, CUDA
from headrace.config import ModelConfig


def threads_per_session(configured: int | Literal["elastic"], cores: float, sessions: int) -> int:
    """Intra-op threads: what is configured, or an even share of the cores among all replicas' sessions of the model.

    Shares are rounded down: a thread more than a quota pays for is throttled in the middle of a batch.
    """
    return max(1, int(cores / sessions)) if configured in (0, "elastic") else int(configured)


def runs_per_session(config: ModelConfig, providers: Sequence[str], threads: int) -> int:
    """Batches that a session takes at once: as configured, or several where one more may find something idle.

    That is where copies and kernels overlap, and where operators leave some of several threads without work. The
    batcher learns how many pay; one that learns nothing is not given the choice. Small batches on an H100 gained up to
    the fourth.
    """
    if config.instances.runs != "auto":
        return config.instances.runs
    if config.batching.controller != "adaptive":
        return 1
    return 4 if providers[0] == CUDA else 2 if providers[0] == CPU and threads > 1 else 1
