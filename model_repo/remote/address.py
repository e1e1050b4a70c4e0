"""How a URL is shown, and what the folder of its copy is called. Pure."""

from __future__ import annotations

import re
from hashlib import blake2b

from headrace.repositories import Url

NAME_CHARS = 60


def shown(url: str) -> str:
    """Without what may be secret: user and password, and the query with its signatures."""
    return re.sub(r"://[^/@?#]*@", "://", url).split("?", 1)[0]


def folder_name(url: Url) -> str:
    """`s3-bucket-models-1f2e3d4c5b6a`: readable, and another one for every URL. A `/` at the end does not matter."""
    words = re.sub(r"[^A-Za-z0-9.]+", "-", shown(url)).strip("-.")[:NAME_CHARS]
    return f"{words}-{blake2b(url.rstrip('/').encode(errors='surrogateescape'), digest_size=6).hexdigest()}"
