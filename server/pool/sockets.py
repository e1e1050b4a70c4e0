"""The pool's two addresses, taken once by the supervisor before any replica exists.

HTTP: one listening socket that every replica inherits. It listens from the start, because two sockets may be bound to
one port as long as none listens. gRPC: a bound socket that never listens reserves the port, and each replica listens
on one of its own beside it (SO_REUSEPORT), among which the kernel divides the connections. All raise ConfigError with a
sentence that names the address.
"""

from __future__ import annotations

import errno
import socket

from headrace.errors import ConfigError

BACKLOG = 4096


def listen_http(host: str, port: int) -> socket.socket:
    """A listening, non-blocking socket; port 0 takes a free one (see `port_of`)."""
    bound = _socket(host, port, "http_port")
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted sockets inherit it
    _bind(bound, host, port, "http_port")
    try:
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise _refusal(host, port, "http_port", error) from None
    bound.setblocking(False)
    return bound


def reserve_grpc(host: str, port: int) -> socket.socket:
    """A bound socket that keeps the port for this pool's gRPC servers, and other pools off it."""
    if port:
        # With SO_REUSEPORT a second pool of the same user would bind happily and share the first one's connections.
        with _socket(host, port, "grpc_port") as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            _bind(probe, host, port, "grpc_port")
    reserved = _socket(host, port, "grpc_port")
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    # SO_REUSEADDR gets past connections in TIME_WAIT; taken back, it makes the probe above fail in another pool.
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    _bind(reserved, host, port, "grpc_port")
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    return reserved


def listen_grpc(host: str, port: int) -> socket.socket:
    """A replica's listening socket, beside the one that reserves the port for its pool; port 0 takes a free one."""
    bound = _socket(host, port, "grpc_port")
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    _bind(bound, host, port, "grpc_port")
    bound.listen(BACKLOG)
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
