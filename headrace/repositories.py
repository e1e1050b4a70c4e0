"""What may be named as a model repository: a folder, or a URL of one that is elsewhere.

`file://` is a folder like any other and needs no copy. Pure; nothing is opened.
"""

from __future__ import annotations

from pathlib import Path
from typing import NewType
from urllib.parse import unquote, urlsplit

Url = NewType("Url", str)
"""`s3://bucket/prefix` and whatever else has `://` in it, `file://` excepted."""


def repository(said: Path | str) -> Path | Url:
    """Text as the folder or URL that it is. Raises ValueError for a `file://` of elsewhere."""
    if isinstance(said, Path):
        return said
    scheme, mark, rest = said.partition("://")
    if not mark:
        return Path(said)
    if scheme.lower() != "file":
        return Url(f"{scheme.lower()}://{rest}")
    parts = urlsplit(said)
    if parts.netloc not in ("", "localhost"):
        raise ValueError(f"a folder of this machine, file:///{parts.netloc}{parts.path}")
    return Path(unquote(parts.path))
