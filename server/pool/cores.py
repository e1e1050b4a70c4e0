"""How many cores this process may really use: its affinity, cut by the container's CPU quota."""

from __future__ import annotations

import os
from pathlib import Path

_V2 = Path("/sys/fs/cgroup/cpu.max")
_V1_QUOTA = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
_V1_PERIOD = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")


def usable_cores() -> int:
    """At least 1. A quota of 1.5 cores counts as 2: half a core idle costs more than half a replica too many."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores_within(affinity, _quota())


def cores_within(affinity: int, quota: float | None) -> int:
    """`quota` in cores, None if there is none."""
    return affinity if quota is None else max(1, min(affinity, -int(-quota // 1)))


def _quota() -> float | None:
    try:
        if _V2.exists():
            quota, period = _V2.read_text().split()
        else:
            quota, period = _V1_QUOTA.read_text().strip(), _V1_PERIOD.read_text().strip()
        return None if quota in {"max", "-1"} else int(quota) / int(period)
    except (OSError, ValueError):
        return None
