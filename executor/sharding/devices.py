"""From what the configuration says about sharding to what the planner is asked for."""

from __future__ import annotations

from collections.abc import Mapping

from executor.providers import kind_of
from executor.sharding.costs import speed
from executor.sharding.plan import Device
from executor.sharding.planning import Wish
from executor.sharding.shapes import FREE, ROWS, Sizes
from headrace.sharding import Sharding

NO_LIMIT = 1 << 60
"""Bytes of a device about which nothing is said."""
RESERVES = {"cpu": 64 << 20}
RESERVE = 768 << 20
"""Of accelerators: the context of the device, code of the kernels, their work space, holes between allocations."""


def wish_for(
    sharding: Sharding, *, free: int = FREE, axes: Mapping[str, int] | None = None, reserve_bytes: int | None = None
) -> Wish:
    """For one pipeline. Raises LoadFailed for a device of an unknown kind.

    `free` and `axes`: sizes of free axes, by which memory and seconds are estimated. `reserve_bytes` None: `RESERVES`.
    """
    count = len(sharding.devices) // sharding.replicas
    limits = sharding.memory_limit
    each = limits if isinstance(limits, tuple) else (limits or NO_LIMIT,) * len(sharding.devices)
    devices = [_device(name, limit, reserve_bytes) for name, limit in zip(sharding.devices, each, strict=True)]
    stages = None if sharding.stages == "auto" else sharding.stages
    if sharding.stages == "auto" and limits is None:
        stages = count
    rows = ROWS if sharding.micro_batch_rows == "auto" else sharding.micro_batch_rows
    return Wish(devices[:count], stages, Sizes(rows, free, axes or {}))


def _device(name: str, limit: int, reserve_bytes: int | None) -> Device:
    kind = kind_of(name.partition(":")[0])
    link = speed(kind)
    reserve = RESERVES.get(kind, RESERVE) if reserve_bytes is None else reserve_bytes
    return Device(name, kind, limit, reserve, link.link_bytes_per_s, link.link_s)
