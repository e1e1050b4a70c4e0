"""A server's address, and how it is spoken to: `http://host:8000`, `https://...`, `grpc://host:8001`."""

from __future__ import annotations

from dataclasses import dataclass
from string import punctuation
from typing import Literal, TypeAlias
from urllib.parse import quote, urlsplit

from loadtest.attack import Opener
from loadtest.connection import Connections

Scheme: TypeAlias = Literal["http", "https", "grpc"]

PORTS: dict[Scheme, int] = {"http": 80, "https": 443, "grpc": 8001}


@dataclass(frozen=True, slots=True)
class Where:
    """Can be told another process. `headers` go with every request, over gRPC as metadata, with names in lower case."""

    scheme: Scheme
    host: str
    port: int
    path: str = ""
    """With its query, if the URL names something on the server; else empty."""
    headers: tuple[tuple[str, str], ...] = ()
    gzip: bool = False
    """Requests are packed, and answers may be."""
    stream: bool = False
    """Over gRPC: each connection is one stream of requests."""

    @property
    def netloc(self) -> str:
        """Host and port."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """Without the path."""
        return f"{self.scheme}://{self.netloc}"

    def opener(self) -> Opener:
        """What requests are sent with."""
        if self.scheme == "grpc":
            from loadtest.rpc import Slots  # noqa: PLC0415 - a second of imports, which REST does without

            return Slots(self.netloc, self.headers, gzip=self.gzip, stream=self.stream)
        return Connections(self.host, self.port, tls=self.scheme == "https")


def parse(url: str) -> Where:
    """Without a scheme it is http. Raises ValueError with a sentence."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"{url!r} is not a URL: {error}") from None
    if not host:
        raise ValueError(f"{url!r} names no host")
    scheme = next((known for known in PORTS if known == parts.scheme), None)
    if scheme is None:
        raise ValueError(f"{url!r}: expected {', '.join(PORTS)}, found {parts.scheme!r}")
    path = quote(parts._replace(scheme="", netloc="", fragment="").geturl(), punctuation)
    if path.strip("/") and scheme == "grpc":
        raise ValueError(f"{url!r}: a gRPC server has no paths")
    return Where(scheme, host, port or PORTS[scheme], path if path.strip("/") else "")


def parse_header(text: str) -> tuple[str, str]:
    """`NAME: VALUE`. Raises ValueError with a sentence."""
    name, colon, value = text.partition(":")
    if not colon or not name.strip() or any(char in text for char in "\r\n"):
        raise ValueError(f"--header {text!r}: expected NAME: VALUE")
    return name.strip().lower(), value.strip()
