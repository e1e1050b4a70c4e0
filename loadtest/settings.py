"""Settings of a model that `headrace tune` tries, and which of them is best. Pure: numbers in, a choice and YAML out.

What a setting gives depends on the model, the machine and its neighbours; the batch size is not among them, as the
batcher learns it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from statistics import median
from typing import Any

import yaml

ENOUGH = 0.95
"""Settings with this share of the most answers/s are as good; of them the one whose lone request is fastest is best."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Processes, sessions in each, threads of each session."""

    replicas: int
    instances: int
    threads: int

    @property
    def cores(self) -> int:
        """That it can keep busy."""
        return self.replicas * self.instances * self.threads

    @property
    def text(self) -> str:
        """As `--try` takes it."""
        return f"{self.replicas}x{self.instances}x{self.threads}"

    def __str__(self) -> str:
        return f"{self.replicas:>8} {self.instances:>9} {self.threads:>7}"


@dataclass(frozen=True, slots=True)
class Measured:
    """What a setting gave: answers/s and p99 under load, mean latency of a lone request."""

    setting: Setting
    per_s: float
    p99_ms: float
    alone_ms: float

    def __str__(self) -> str:
        return f"{self.setting} {self.per_s:>11,.1f} {self.p99_ms:>9.3f} {self.alone_ms:>9.3f}"


HEAD = f"{'replicas':>8} {'instances':>9} {'threads':>7} {'answers/s':>11} {'p99 ms':>9} {'alone ms':>9}"


def grid(cores: int) -> list[Setting]:
    """Powers of two that keep all cores busy, or half of them: the front end and its neighbours need some too."""
    powers = [2**power for power in range(max(1, cores).bit_length())]
    found = [Setting(*each) for each in product(powers, repeat=3)]
    return [setting for setting in found if cores / 2 <= setting.cores <= max(1, cores)]


def medians(measured: Sequence[Measured]) -> list[Measured]:
    """Of each setting's, in the order in which they were first measured."""
    found: dict[Setting, list[Measured]] = {}
    for each in measured:
        found.setdefault(each.setting, []).append(each)
    return [
        Measured(setting, *(median(getattr(each, name) for each in runs) for name in ("per_s", "p99_ms", "alone_ms")))
        for setting, runs in found.items()
    ]


def best(measured: Sequence[Measured]) -> Measured:
    """At least one."""
    most = max(each.per_s for each in measured)
    return min((each for each in measured if each.per_s >= ENOUGH * most), key=lambda each: each.alone_ms)


def applied(config: dict[str, Any], setting: Setting) -> dict[str, Any]:
    """A model's configuration under a setting."""
    instances = (config.get("instances") or {}) | {"count": setting.instances, "threads": setting.threads}
    return config | {"instances": instances}


def written(config: dict[str, Any], measured: Sequence[Measured], about: str) -> str:
    """A `config.yaml`: what was there, with the best setting in it, and what each gave."""
    chosen = best(measured).setting
    lines = [f"headrace tune, {about}:", HEAD, *map(str, measured), f"Serve it with --replicas {chosen.replicas}."]
    return "".join(f"# {line}\n" for line in lines) + yaml.safe_dump(applied(config, chosen), sort_keys=False)
