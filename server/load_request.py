"""The parameters of a load and of an unload request, whatever protocol they came by.

Source: Triton's `model_repository` extension. Over REST the content of a file is base64, over gRPC it is bytes.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from headrace.errors import BadRequest

_FILE = "file:"
_UNLOAD_DEPENDENTS = "unload_dependents"


def read_load(parameters: Mapping[str, Any]) -> tuple[str, dict[str, bytes]]:
    """The configuration ("" if there is none) and the files by their path in `parameters`. Raises BadRequest."""
    config = ""
    files = {}
    for name, value in parameters.items():
        if name == "config":
            if not isinstance(value, str):
                raise BadRequest("parameter 'config' of a load is Triton's ModelConfig as a JSON string")
            config = value
        elif name.startswith(_FILE):
            files[name.removeprefix(_FILE)] = _content(name, value)
        else:
            raise BadRequest(f"a load has the parameters 'config' and 'file:PATH', found {name[:100]!r}")
    return config, files


def read_unload(parameters: Mapping[str, Any]) -> None:
    """Check them. No model here depends on another one: with or without dependents is the same. Raises BadRequest."""
    for name, value in parameters.items():
        if name != _UNLOAD_DEPENDENTS:
            raise BadRequest(f"an unload has the parameter {_UNLOAD_DEPENDENTS!r}, found {name[:100]!r}")
        if not isinstance(value, bool):
            raise BadRequest(f"parameter {_UNLOAD_DEPENDENTS!r} is true or false, found {str(value)[:100]!r}")


def _content(name: str, value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise BadRequest(f"parameter {name[:200]!r} is not the base64 form of a file's content") from None
