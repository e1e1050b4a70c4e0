"""What the process that loads models has for all of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from executor.activity import Activity
from executor.budget import Budget
from executor.cache import Cache
from executor.nap import Nap


@dataclass(frozen=True, slots=True)
class Host:
    """One of `replicas` that load the same models."""

    replicas: int = 1
    cache: Cache | None = None
    """Where what can be made again is kept; None: it is not."""
    activity: Activity | None = None
    """What all processes on these cores run."""
    budget: Budget = field(default_factory=Budget)
    nap: Nap = field(default_factory=Nap)
    """Of the loop to which runs in threads go back."""
