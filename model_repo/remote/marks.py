"""The mark of a remote file: a text that changes when the file does. Pure.

Made from what a storage says about a file, in whatever words; the first of these that is there: its etag or checksum,
its time of change. The size is always part of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TAGS = ("etag", "e_tag", "md5hash", "content_md5", "checksum", "digest", "sha", "blob_id")
TIMES = ("last_modified", "lastmodified", "mtime", "modified", "updated", "created")


def mark(info: Mapping[str, Any]) -> str:
    """`etag abc 120` (kind, value, size); `size 120` alone where a storage says nothing more."""
    said = {str(name).lower().replace("-", "_"): value for name, value in info.items()}
    for name in (*TAGS, *TIMES):
        if said.get(name):
            return f"{name} {_plain(said[name])} {info.get('size')}"
    return f"size {info.get('size')}"


def same(one: str, other: str) -> bool:
    """Whether a listing's mark and a look-up's can be of one state of a file.

    Only tags are written the same in both: times come as text here and as a number there, and more or less exact.
    """
    if one.partition(" ")[0] == other.partition(" ")[0] in TAGS:
        return one == other
    return one.rpartition(" ")[2] == other.rpartition(" ")[2]


def _plain(value: object) -> str:
    text = value.hex() if isinstance(value, bytes | bytearray) else str(value)
    return text.removeprefix("W/").strip('"')
