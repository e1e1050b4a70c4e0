"""The pool's two addresses, taken once by the supervisor before any replica exists.

Listening sockets that every replica inherits. They listen from the start, because two sockets may be bound to one port
as long as none listens; who connects before a replica is there waits for it. All raise ConfigError with a sentence that
names the address.
"""

from __future__ import annotations

import errno
import socket
from typing import NamedTuple

from headrace.errors import ConfigError

BACKLOG = 4096


class Ports(NamedTuple):
    """Both sockets."""

    http: socket.socket
    grpc: socket.socket

    def close(self) -> None:
        """Here; whoever inherited them has them still."""
        self.http.close()
        self.grpc.close()


def listen(host: str, port: int, key: str) -> socket.socket:
    """A listening, non-blocking socket; port 0 takes a free one (see `port_of`). `key` is the setting's name."""
    bound = _socket(host, port, key)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted sockets inherit it
    _bind(bound, host, port, key)
    try:
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise _refusal(host, port, key, error) from None
    bound.setblocking(False)
    return bound


def port_of(bound: socket.socket) -> int:
    """The port that was really taken."""
    port: int = bound.getsockname()[1]
    return port


def _socket(host: str, port: int, key: str) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
    except OSError as error:
        raise ConfigError(f"host: expected an address of this machine, found {host!r} ({error.strerror})") from None
    try:
        made = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise _refusal(host, port, key, error) from None
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, host != "::")  # "::" means everywhere, IPv4 included
    return made


def _bind(made: socket.socket, host: str, port: int, key: str) -> None:
    try:
        made.bind((host, port))
    except OSError as error:
        made.close()
        raise _refusal(host, port, key, error) from None


def _refusal(host: str, port: int, key: str, error: OSError) -> ConfigError:
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if error.errno == errno.EADDRINUSE:
        return ConfigError(f"{key}: {where} is already in use by another process")
    if error.errno == errno.EACCES:
        return ConfigError(f"{key}: {where} needs privileges that this process does not have")
    return ConfigError(f"{key}: cannot listen on {where}: {error.strerror}")
