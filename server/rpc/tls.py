"""TLS for the gRPC port: a certificate, its key, and HTTP/2 as the one protocol that is offered (ALPN)."""

from __future__ import annotations

import ssl
from pathlib import Path

from headrace.errors import ConfigError


def tls_context(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """None without a certificate. Raises ConfigError naming the file that is missing or wrong."""
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        missing = "grpc_tls_certificate" if certificate is None else "grpc_tls_key"
        raise ConfigError(f"{missing}: TLS needs a certificate and its key, and this one is not given")
    for name, file in (("grpc_tls_certificate", certificate), ("grpc_tls_key", key)):
        if not file.is_file():
            raise ConfigError(f"{name}: there is no file {file}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    try:
        context.load_cert_chain(certificate, key)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(f"grpc_tls_certificate {certificate} and grpc_tls_key {key}: {error}") from None
    return context
