"""How much memory NVIDIA's GPUs have left, by NVML: without a context of one's own on each of them, which is no little.

NVML counts the GPUs of the machine; a process sees those that CUDA_VISIBLE_DEVICES names, in that order. Where the
package or the driver is missing nothing is known.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from headrace.memory import Room

try:
    import pynvml
except ImportError:
    pynvml = None

_FAMILY = "cuda"


def room_on(device: str) -> Room | None:
    """Of `cuda:N`; None if it is none, or nothing is known about it."""
    kind, _, number = device.partition(":")
    if kind != _FAMILY or pynvml is None:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        found = pynvml.nvmlDeviceGetMemoryInfo(_handle(int(number or 0)))
        return Room(int(found.total), int(found.free), device)
    except (pynvml.NVMLError, ValueError, IndexError):
        return None
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def taken_on(device: str) -> int:
    """Bytes of `cuda:N` that somebody has; 0 if nothing is known about it."""
    room = room_on(device)
    return 0 if room is None else room.limit_bytes - room.free_bytes


def _handle(number: int) -> Any:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return pynvml.nvmlDeviceGetHandleByIndex(number)
    name = [each.strip() for each in visible.split(",")][number]
    return pynvml.nvmlDeviceGetHandleByIndex(int(name)) if name.isdecimal() else _by_uuid(name)


def _by_uuid(name: str) -> Any:
    """CUDA takes the beginning of a UUID, NVML wants all of it."""
    for number in range(pynvml.nvmlDeviceGetCount()):
        handle = pynvml.nvmlDeviceGetHandleByIndex(number)
        if str(pynvml.nvmlDeviceGetUUID(handle)).startswith(name):
            return handle
    return pynvml.nvmlDeviceGetHandleByUUID(name)  # of a part of a GPU (MIG)
