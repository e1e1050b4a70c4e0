"""Which processor this is, as far as packed weights depend on it: its make and the instructions it has."""

from __future__ import annotations

import functools
import platform
from pathlib import Path

_TELLING = {"vendor_id", "cpu family", "model", "model name", "stepping", "flags"}
_TELLING_ARM = {"CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision", "Features"}


@functools.cache
def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str | None:
    """Equal for processors that may use each other's packed weights; None where the system does not say (not Linux).

    All kinds of cores are in it, since which one reads the weights is the scheduler's choice.
    """
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return None
    said = {line for line in lines if line.partition(":")[0].strip() in _TELLING | _TELLING_ARM}
    return "\n".join([platform.machine(), *sorted(said)]) if said else None
