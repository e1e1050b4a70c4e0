"""How many threads a session gets, and how many runs at once."""

from __future__ import annotations

from collections.abc import Sequence

from executor.providers import CPU, CUDA
from headrace.config import ModelConfig


def threads_per_session(configured: int, cores: float, sessions: int) -> int:
    """Intra-op threads: what is configured, or an even share of the cores among all replicas' sessions of the model.

    Shares are rounded down: a thread more than a quota pays for is throttled in the middle of a batch.
    """
    return configured or max(1, int(cores / sessions))


def runs_per_session(config: ModelConfig, providers: Sequence[str], threads: int) -> int:
    """Batches that a session takes at once: as configured, or 2 where a second one may find something idle.

    That is where copies and kernels overlap, and where operators leave some of several threads without work. The
    batcher learns whether it pays; one that learns nothing is not given the choice.
    """
    if config.instances.runs != "auto":
        return config.instances.runs
    idle = providers[0] == CUDA or (providers[0] == CPU and threads > 1)
    return 2 if idle and config.batching.controller == "adaptive" else 1
