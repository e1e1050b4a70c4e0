"""What the operator sees when the pool is ready: where to look, and a line to paste.

A model may have an `example.json` beside its versions, a V2 request with a known answer; the first one found becomes
the line. Without one the line lists the models.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from headrace.config import ServerConfig
from headrace.repositories import Url

EXAMPLE = "example.json"
_ANY = ("0.0.0.0", "::", "")


def welcome(config: ServerConfig, http_port: int, grpc_port: int) -> str:
    """A few lines of text."""
    host = "localhost" if config.host in _ANY else config.host
    host = f"[{host}]" if ":" in host else host
    url = f"http://{host}:{http_port}"
    return "\n".join(
        (
            f"Headrace is ready: REST on {url}, gRPC on {host}:{grpc_port}",
            f"  API docs  {url}/docs",
            f"  try       {_line(url, config.model_repository)}",
        )
    )


def _line(url: str, repositories: Iterable[Path | Url]) -> str:
    for repository in (item for item in repositories if isinstance(item, Path)):
        for example in sorted(repository.glob(f"*/{EXAMPLE}")):
            try:
                request = json.dumps(json.loads(example.read_text()), separators=(",", ":"))
            except (OSError, ValueError):
                continue
            if "'" not in request:
                return f"curl -s {url}/v2/models/{example.parent.name}/infer -d '{request}'"
    return f"curl -s -X POST {url}/v2/repository/index"
