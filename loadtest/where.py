"""A server's address, and how it is spoken to: `http://host:8000`, `https://...`, `grpc://host:8001`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from loadtest.attack import Opener
from loadtest.connection import Connections

Scheme: TypeAlias = Literal["http", "https", "grpc"]

PORTS: dict[Scheme, int] = {"http": 80, "https": 443, "grpc": 8001}


@dataclass(frozen=True, slots=True)
class Where:
    """Can be told another process."""

    scheme: Scheme
    host: str
    port: int

    @property
    def url(self) -> str:
        """In full."""
        return f"{self.scheme}://{self.host}:{self.port}"

    def opener(self) -> Opener:
        """What requests are sent with."""
        if self.scheme == "grpc":
            from loadtest.rpc import Slots  # noqa: PLC0415 - a second of imports, which REST does without

            return Slots(f"{self.host}:{self.port}")
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
    return Where(scheme, host, port or PORTS[scheme])
