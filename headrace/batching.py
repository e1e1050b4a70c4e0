"""What `config.yaml` says about how requests of a model are put together, checked: the key `batching`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from headrace.frozen import Frozen


class BatchingLimits(Frozen):
    """Bounds on how requests of one model are put together. Rows, never requests."""

    enabled: Literal["auto", True, False] = Field(
        "auto", description="auto: batch if the first axis of every tensor is free and rows prove independent."
    )
    pad: Literal["auto", False] | dict[str, bool | int | float | str] = Field(
        "auto",
        union_mode="left_to_right",
        description="Whether requests of different lengths share a batch, filled up at the end. auto: if the inputs"
        " have one free axis in common besides the first, and rows prove to be the same padded with 0 as alone; {input:"
        " value, ...}: these inputs with these values, and an error if rows prove otherwise; false: never.",
    )
    controller: Literal["adaptive", "timer"] = Field(
        "adaptive",
        description="adaptive: learns when waiting pays, for whom, and how large a batch should be; timer: a batch goes"
        " when it is full or its oldest request max_queue_delay_ms old, as in other servers.",
    )
    objective: Literal["mean", "p99", "goodput", "device_time"] = Field(
        "mean",
        description="What adaptive is after: lowest mean latency; lowest 99th percentile; most requests within slo_ms;"
        " least device time that still meets slo_ms. None of them at the cost of throughput.",
    )
    slo_ms: float | None = Field(
        None, validate_default=True, gt=0, le=3_600_000, description="The latency that goodput and device_time aim at."
    )
    max_batch_rows: int = Field(64, ge=1, le=65536, description="Most rows of one batch; larger requests are cut.")
    max_queue_delay_ms: float | None = Field(
        None,
        ge=0,
        le=60_000,
        description="Longest a request may wait for batch mates while an executor is free. Not set: as long as it pays"
        " (adaptive), not at all (timer).",
    )
    max_queue_rows: int = Field(4096, ge=1, description="Rows that may wait; past it requests are refused at once.")
    max_queue_bytes: int | None = Field(
        None,
        ge=1,
        description="Bytes of tensors that may wait; past it requests are refused at once. Not set: 256 MiB, or less,"
        " where all replicas together could else keep more than an eighth of the memory limit.",
    )
    default_timeout_ms: float | None = Field(
        None,
        gt=0,
        le=3_600_000,
        description="Timeout of requests that bring none. A request that would be late (adaptive), or is, is refused.",
    )

    weight: float = Field(
        1.0, gt=0, le=1000, description="Share of a device, relative to others', that this model gets when all want it."
    )
    priority_levels: int = Field(
        0,
        ge=0,
        description="Levels that the parameter priority of a request may have, from 1, the most urgent; 0: any.",
    )
    default_priority: int | None = Field(
        None,
        validate_default=True,
        ge=1,
        description="Level of the requests that give none; not set: 2, or 1 if priority_levels is 1.",
    )
    ageing_ms: float = Field(
        1000.0,
        ge=0,
        le=3_600_000,
        description="By how much longer a request must have waited to go before one that is one level more urgent.",
    )

    @property
    def level(self) -> int:
        """Of the requests that give no priority."""
        return self.default_priority or min(2, self.priority_levels or 2)

    @field_validator("default_priority")
    @classmethod
    def _is_a_level(cls, default: int | None, info: ValidationInfo) -> int | None:
        levels = info.data.get("priority_levels")
        if default and levels and default > levels:
            raise ValueError(f"the highest level is {levels} (priority_levels), found {default}")
        return default

    @field_validator("slo_ms")
    @classmethod
    def _needed(cls, slo_ms: float | None, info: ValidationInfo) -> float | None:
        objective = info.data.get("objective")
        if slo_ms is None and objective in ("goodput", "device_time"):
            raise ValueError(f"objective {objective} needs slo_ms")
        return slo_ms
