"""How many threads a session gets."""

from __future__ import annotations


def threads_per_session(configured: int, cores: float, sessions: int) -> int:
    """Intra-op threads: what is configured, or an even share of the cores among all replicas' sessions of the model.

    Shares are rounded down: a thread more than a quota pays for is throttled in the middle of a batch.
    """
    return configured or max(1, int(cores / sessions))
