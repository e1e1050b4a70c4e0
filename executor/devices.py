"""Where a model would compute, before it is loaded: asks the runtime which providers it has."""

from __future__ import annotations

from executor import runtime
from executor.providers import ON_THE_CPU, choose, device, placed
from headrace.config import ModelConfig
from headrace.errors import LoadFailed


def device_of(config: ModelConfig) -> str:
    """The device of a model with this configuration; the CPU's if it cannot be loaded."""
    try:
        asked = placed(config.execution_providers, config.instances.device)
        first, _ = choose(asked, runtime.available_providers())[0]
    except LoadFailed:
        return ON_THE_CPU
    return device(asked, first)
