"""Where a model would compute, before it is loaded: asks the runtime which providers it has."""

from __future__ import annotations

from collections.abc import Sequence

from executor import runtime
from executor.providers import ON_THE_CPU, choose, device
from headrace.config import Provider
from headrace.errors import LoadFailed


def device_of(asked: Sequence[Provider | str]) -> str:
    """The device of a model with these `execution_providers`; the CPU's if it cannot be loaded."""
    try:
        first, _ = choose(asked, runtime.available_providers())[0]
    except LoadFailed:
        return ON_THE_CPU
    return device(asked, first)
