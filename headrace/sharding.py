"""What `config.yaml` says about a model on several devices, checked: the key `sharding`, and sizes such as `8GiB`."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StrictStr,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from headrace.frozen import Frozen

_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(i?)b?", re.ASCII | re.IGNORECASE)
_DEVICE = re.compile(r"[a-z][a-z_]*(:[0-9]+)?", re.ASCII)


def size(text: str) -> int:
    """Bytes of `8GiB`, `8Gi`, `500 MB`, `1073741824`. Raises ValueError."""
    found = _SIZE.fullmatch(text.strip())
    if found is None or (found[3] and not found[2]):
        raise ValueError(f"expected a size such as 8GiB or 500MB, found {text!r}")
    return int(float(found[1]) * (1024 if found[3] else 1000) ** _POWERS[found[2].lower()])


def in_words(count: float) -> str:
    """Bytes with three digits and a unit of 1024: `7.25 GiB`."""
    unit, units = "bytes", iter(("KiB", "MiB", "GiB", "TiB"))
    while count >= 1000 and (larger := next(units, None)):
        count, unit = count / 1024, larger
    return f"{count:.3g} {unit}"


def enough(count: int) -> int:
    """At least `count`, and a size that `in_words` says as it is."""
    step = 1
    while count >= 1000 * step:
        step *= 1024
    places = 3 - len(str(count // step))
    return math.ceil(math.ceil(count / step * 10.0**places) / 10.0**places * step)


def _bytes(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return size(value)
        except ValueError:
            raise PydanticCustomError("size", "a size such as 8GiB or 500MB") from None
    return value


def _device(name: str) -> str:
    if not _DEVICE.fullmatch(name):
        raise PydanticCustomError("device", "a device such as cuda:0 or cpu:0")
    return name


Bytes: TypeAlias = Annotated[int, BeforeValidator(_bytes), Field(ge=1)]
Device: TypeAlias = Annotated[StrictStr, AfterValidator(_device)]


class Sharding(Frozen):
    """One model on several devices: consecutive stages of it, each on a device of its own."""

    devices: tuple[Device, ...] = Field(
        min_length=1, description="Devices for stages, such as cuda:0 or cpu:0; each stage gets one."
    )
    memory_limit: Bytes | tuple[Bytes, ...] | None = Field(
        None,
        description="Memory that a stage may take of its device, such as 8GiB: for all the same, or a list with one for"
        " each. Not set: no limit.",
    )
    stages: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = Field(
        "auto", description="Number of stages; auto: the fewest that fit memory_limit, without one as many as devices."
    )
    micro_batch_rows: Annotated[int, Field(ge=1, le=65536)] | Literal["auto"] = Field(
        "auto", description="Rows that go through the stages at a time; auto: what proves best."
    )
    replicas: int = Field(
        1,
        ge=1,
        le=1024,
        description="Pipelines of all stages; each gets an equal share of the devices, in their order.",
    )

    @field_validator("devices")
    @classmethod
    def _each_once(cls, devices: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(devices)) < len(devices):
            raise PydanticCustomError("devices", "each device once")
        return devices

    @field_validator("memory_limit")
    @classmethod
    def _one_each(cls, limit: int | tuple[int, ...] | None, info: ValidationInfo) -> int | tuple[int, ...] | None:
        devices = info.data.get("devices", ())
        if isinstance(limit, tuple) and devices and len(limit) != len(devices):
            raise PydanticCustomError("memory_limit", "one size for all or {count} sizes", {"count": len(devices)})
        return limit

    @field_validator("replicas")
    @classmethod
    def _equal_shares(cls, replicas: int, info: ValidationInfo) -> int:
        devices = info.data.get("devices", ())
        if devices and len(devices) % replicas:
            raise PydanticCustomError("replicas", "a number that divides the {count} devices", {"count": len(devices)})
        return replicas
