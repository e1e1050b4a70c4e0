"""From a mapping of unknown origin to configuration, or to a sentence for each key that is wrong."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from headrace.errors import ConfigError

Config = TypeVar("Config", bound=BaseModel)

Spell = Callable[[str], str]
"""How a key, given with dots, is shown to whoever wrote it."""

_EXPECTED = {
    "greater_than_equal": "at least {ge:.15g}",
    "greater_than": "more than {gt:.15g}",
    "less_than_equal": "at most {le:.15g}",
    "literal_error": "{expected}",
    **dict.fromkeys(("int_type", "int_parsing", "int_parsing_size", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing", "finite_number"), "a number"),
    "bool_type": "true or false",
    "string_type": "text",
    "path_type": "a path",
    "tuple_type": "a list",
    **dict.fromkeys(("model_type", "dict_type"), "a mapping"),
}
"""Kinds of pydantic's complaints -> what was expected, without its words for Python's types."""


def parse(kind: type[Config], values: Mapping[str, Any], where: str, spell: Spell = repr) -> Config:
    """Check `values` against `kind`. `where` (a file) starts the error message; "" if `spell` says enough.

    Raises ConfigError naming each key that is unknown (with the nearest known one) or wrong (with what was found).
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        sentences = _sentences(kind, error, values, spell)
        raise ConfigError(f"{where}: {sentences}" if where else sentences) from None


def _sentences(kind: type[BaseModel], error: ValidationError, values: Mapping[str, Any], spell: Spell) -> str:
    """One per key. Where a field has several forms pydantic complains for each: the one that got furthest was meant."""
    found: dict[tuple[str | int, ...], list[dict[str, Any]]] = {}
    for item in map(dict, error.errors(include_url=False)):
        found.setdefault(_place(item, values), []).append(item)
    meant = [
        place for place in found if not any(len(place) < len(other) and other[: len(place)] == place for other in found)
    ]
    return "; ".join(_sentence(kind, spell(".".join(map(str, place))), found[place]) for place in meant)


def _place(item: dict[str, Any], values: Any) -> tuple[str | int, ...]:
    """Its path in what was given: pydantic's has the names of the alternatives in between."""
    place = []
    for part in item["loc"]:
        if (
            part in values
            if isinstance(values, Mapping)
            else isinstance(values, list | tuple) and isinstance(part, int)
        ):
            values = values[part]
            place.append(part)
    return (*place, item["loc"][-1]) if item["type"] == "missing" else tuple(place)


def _sentence(kind: type[BaseModel], key: str, items: list[dict[str, Any]]) -> str:
    item = items[0]
    if item["type"] == "extra_forbidden":
        *path, unknown = item["loc"]
        known = _keys_at(kind, path)
        near = difflib.get_close_matches(str(unknown), known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys are {', '.join(sorted(known))}"
        return f"unknown key {key}; {hint}"
    if item["type"] == "missing":
        return f"{key} is missing"
    expected = " or ".join(dict.fromkeys(map(_expected, items)))
    return f"{key}: expected {expected}, found {repr(item['input'])[:80]}"


def _expected(item: Mapping[str, Any]) -> str:
    said: str = item["msg"].removeprefix("Input should be ")
    return _EXPECTED[item["type"]].format(**item.get("ctx", {})) if item["type"] in _EXPECTED else said


def _keys_at(kind: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    for part in path:
        if part in kind.model_fields:
            kind = next(_models_in(kind.model_fields[str(part)].annotation), kind)
    return list(kind.model_fields)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)
