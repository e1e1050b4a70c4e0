"""What should be loaded: one version of one model, as it was found on disk.

Made by `scan`, carried by the sources, given to the manager, which hands it to `load`. Invariants: 1. A spec never
changes; when the files or the configuration change, the next scan makes another one. 2. Two specs of one id are the
same to the manager exactly if their fingerprints are equal. It does not open the model: `load` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from headrace.config import ModelConfig
from headrace.models import ModelId, TensorSpec


@dataclass(frozen=True, slots=True)
class VersionSpec:
    """One version to be served: where it is, how it is configured, and what its configuration says it looks like.

    `warmup` are files with requests to run before the first real one, `labels` the class labels of an output, as read
    from its label file. `declared_inputs` and `declared_outputs` are what `config.pbtxt` declares, as whole shapes
    (batch axis included); empty if nothing is declared. `size` is the bytes of all files in the version's folder.
    """

    id: ModelId
    model_file: Path
    config: ModelConfig
    fingerprint: str
    labels: Mapping[str, tuple[str, ...]]
    declared_inputs: tuple[TensorSpec, ...] = ()
    declared_outputs: tuple[TensorSpec, ...] = ()
    warmup: tuple[Path, ...] = ()
    size: int = 0


WantedSet: TypeAlias = Mapping[ModelId, VersionSpec]
"""All that should be served. What is not in it should not be served: omission means unload."""


def fingerprints(specs: WantedSet | None) -> dict[ModelId, str]:
    """What decides whether two wanted sets are the same to the manager."""
    return {id: spec.fingerprint for id, spec in (specs or {}).items()}
