"""A response made by orjson."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import Response


class Json(Response):
    """A response from anything orjson writes."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The body."""
        return orjson.dumps(content)
