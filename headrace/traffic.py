"""What `config.yaml` says about version labels and shares of the traffic, checked: the types of three of its keys.

Used by `ModelConfig`. A mistake is found where it stands: the complaint carries the key, not the whole mapping.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, StrictStr
from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,63}")
"""A label of a version: never a number, so that it can stand wherever a version does."""
LABEL_RULE = "a label (a letter or _, then letters, digits, _ . -, 64 at most)"
_NUMBER = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)
_ALL = 100.0
_DIGITS = 9
"""To which shares are added up: 59.2 + 18.1 + 5.9 + 16.8 is not more than 100."""


def _label(name: str) -> str:
    if not LABEL.fullmatch(name):
        raise PydanticCustomError("label", "{rule}", {"rule": LABEL_RULE})
    return name


def _percent(share: Any) -> Any:
    """`5%` is 5."""
    if isinstance(share, bool):
        raise PydanticCustomError("share", "a number or a percentage")
    try:
        return float(share.strip().removesuffix("%")) if isinstance(share, str) else share
    except ValueError:
        return share


Label: TypeAlias = Annotated[StrictStr, AfterValidator(_label)]
VersionLabels: TypeAlias = dict[Label, Annotated[int, Field(strict=True, ge=1, lt=10**18)]]
Share: TypeAlias = Annotated[float, BeforeValidator(_percent), Field(gt=0, le=_ALL)]
Traffic: TypeAlias = dict[StrictStr, Share]


def check_traffic(traffic: Mapping[str, float], labels: Collection[str]) -> None:
    """Raises pydantic's error for keys that are neither a label nor a version, and for shares that are too much."""
    strangers = [key for key in traffic if key not in labels and not _NUMBER.fullmatch(key)]
    if strangers:
        complaints = [InitErrorDetails(type=_unknown(key, labels), loc=(key,), input=key) for key in strangers]
        raise ValidationError.from_exception_data("traffic", complaints)
    total = round(sum(traffic.values()), _DIGITS)
    if total > _ALL:
        raise PydanticCustomError("shares", "shares that add up to at most 100 (not to {sum})", {"sum": f"{total:g}"})


def _unknown(key: str, labels: Collection[str]) -> PydanticCustomError:
    near = difflib.get_close_matches(key, labels, n=1, cutoff=0.5)
    known = f"one of the labels {', '.join(labels)}" if labels else "a label of version_labels"
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return PydanticCustomError("target", "a version number or {known}{hint}", {"known": known, "hint": hint})
