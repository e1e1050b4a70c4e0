"""A request that is sent again and again: its bytes, and what its answer should be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from loadtest.answers import Check


@dataclass(slots=True)
class Shot:
    """`request`: ready to be sent. `check` None: every answer with a status of 2xx is right."""

    model: str
    request: bytes
    check: Check | None = None


Shots: TypeAlias = list[Shot]
