"""What a load request may put in the place of a model's own files, as Triton's repository extension defines it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Override:
    """`config`: Triton's ModelConfig as JSON, instead of the configuration file; "" leaves that in force. `folder`: a
    whole model folder instead of the one in the repository. `serial` makes a load of unchanged files another one.
    """

    config: str = ""
    folder: Path | None = None
    serial: int = 0


AS_IT_IS = Override()
NONE: Mapping[str, Override] = {}
