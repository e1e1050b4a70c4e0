"""What all configuration has in common: it is checked once, when it is made, and stays as it is."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A part of the configuration. A key that it does not have is an error."""

    # Configuration travels to the replicas as JSON, which has no infinity.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
