"""gzip and deflate, in both directions.

Requests are unpacked up to a limit, so that a small bomb cannot take the memory. An answer is compressed when the
client names exactly one coding (it asks for it, as tritonclient does), or lists several (what HTTP libraries do by
themselves) and the answer is large enough to pay.
"""

from __future__ import annotations

import gzip
import zlib

from headrace.errors import BadRequest, TooLarge, UnsupportedMedia

WORTH_BYTES = 16 << 10
"""Smaller answers are not compressed for clients that merely could unpack them."""
_LEVEL = 1
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


def unpack(body: bytes, coding: bytes, limit: int) -> bytes:
    """`body` without its content coding. Raises UnsupportedMedia, BadRequest (corrupt), TooLarge (over `limit`)."""
    name = coding.strip().lower().decode("latin-1")
    if name in ("", "identity"):
        return body
    if name not in ("gzip", "x-gzip", "deflate"):
        raise UnsupportedMedia(f"content-encoding {name[:40]!r} is not supported; gzip, deflate and identity are")
    try:
        return _inflate(body, _GZIP_OR_ZLIB, limit, name)
    except zlib.error as error:
        if name == "deflate":  # some clients send raw deflate under that name
            try:
                return _inflate(body, -zlib.MAX_WBITS, limit, name)
            except zlib.error:
                pass
        raise BadRequest(f"the body is not valid {name}: {error}") from None


def _inflate(body: bytes, wbits: int, limit: int, name: str) -> bytes:
    inflater = zlib.decompressobj(wbits)
    plain = inflater.decompress(body, limit + 1)
    if len(plain) > limit:
        raise TooLarge(f"the {name} body unpacks to more than {limit} bytes (max_body_bytes)")
    if not inflater.eof:
        raise BadRequest(f"the {name} body is cut off: it ends after {len(body)} bytes inside the stream")
    if inflater.unused_data:
        raise BadRequest(f"{len(inflater.unused_data)} bytes follow the end of the {name} body")
    return plain


def pack(body: bytes, accept: bytes) -> tuple[bytes, bytes]:
    """(`body` as the client's `Accept-Encoding` wants it, the coding's name or b"")."""
    codings = [part.partition(b";") for part in accept.lower().split(b",")]
    wanted = [name.strip() for name, _, quality in codings if quality.replace(b" ", b"") not in (b"q=0", b"q=0.0")]
    if len(wanted) > 1 and len(body) < WORTH_BYTES:
        return body, b""
    for name in wanted:
        if name == b"gzip":
            return gzip.compress(body, _LEVEL, mtime=0), name
        if name == b"deflate":
            return zlib.compress(body, _LEVEL), name
    return body, b""
