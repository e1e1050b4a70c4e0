"""How many cores this process may really use: its affinity, cut by the CPU quotas of its cgroups (v1 or v2).

Containers set the quotas; neither `os.cpu_count` nor ONNX Runtime looks at them. The answer is a fraction where a
quota is: who asks knows whether half a core rounds up or down. Only `usable_cores` reads the system. Files that are
missing or unreadable mean no quota.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from headrace.cgroups import MEMBERSHIP, ReadText, groups, read_text

_MOUNTS = ("cpu", "cpu,cpuacct", "cpuacct,cpu")


def usable_cores() -> float:
    """Cores this process can keep busy now; more than 0, and not a whole number where a quota is not."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores_within(affinity, quotas(read_text(MEMBERSHIP), read_text))


def cores_within(affinity: int, quotas: Iterable[float]) -> float:
    """Cores that a process with this affinity under these quotas (in cores) can keep busy."""
    return min([float(affinity), *quotas])


def quota_v2(cpu_max: str | None) -> float | None:
    """Cores granted by a cgroup v2 `cpu.max` ("max 100000", "150000 100000"), None for no limit."""
    parts = (cpu_max or "").split()
    if not parts or parts[0] == "max":
        return None
    return _ratio(parts[0], parts[1] if len(parts) > 1 else "100000")


def quota_v1(quota_us: str | None, period_us: str | None) -> float | None:
    """Cores granted by cgroup v1's `cpu.cfs_quota_us` (-1 is no limit) and `cpu.cfs_period_us`."""
    return _ratio(quota_us or "", period_us or "")


def quotas(membership: str | None, read: ReadText) -> list[float]:
    """Every quota that holds for this process: its own group's and those of the groups above it.

    `membership` is the text of /proc/self/cgroup.
    """
    found: list[float | None] = []
    for version, group in groups(membership, "cpu", _MOUNTS):
        if version == 2:
            found.append(quota_v2(read(group / "cpu.max")))
        else:
            found.append(quota_v1(read(group / "cpu.cfs_quota_us"), read(group / "cpu.cfs_period_us")))
    return [quota for quota in found if quota is not None]


def _ratio(quota_us: str, period_us: str) -> float | None:
    try:
        quota, period = int(quota_us), int(period_us)
    except ValueError:
        return None
    return quota / period if quota > 0 and period > 0 else None
