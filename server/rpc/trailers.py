"""How an answer begins and ends: the header blocks around its messages, made once for each way to end.

Wire format: gRPC over HTTP/2, "Responses". A call that fails before its first message has one block for both.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from server.memory import Memory
from server.patience import again
from server.rpc.http2.headers import Block
from server.rpc.status import status

Metadata: TypeAlias = tuple[tuple[str, str], ...]

_BEGINNING: Final = ((b":status", b"200"), (b"content-type", b"application/grpc"))
HEAD: Final = Block(_BEGINNING)
"""Before the first message."""
OK: Final = Block([(b"grpc-status", b"0")], ends=True)
"""After the last."""

_TO_ESCAPE: Final = re.compile(rb"[^ -$&-~]")
_ends: Memory[tuple[int, str, Metadata, bool], Block] = Memory()


def failed(error: Exception, *, begun: bool) -> Block:
    """The end of a call that fails with `error`; `begun`: its head has been sent."""
    code, sentence = status(error)
    return ending(code, sentence, again(error), begun=begun)


def ending(code: int, sentence: str, metadata: Metadata = (), *, begun: bool) -> Block:
    """The end of a call with this status. Refusals are the same for many."""
    key = code, sentence, metadata, begun
    block = _ends.get(key)
    if block is None:
        fields = [] if begun else list(_BEGINNING)
        fields.append((b"grpc-status", b"%d" % code))
        if sentence:
            fields.append((b"grpc-message", escaped(sentence)))
        fields += ((name.encode(), value.encode()) for name, value in metadata)
        block = Block(fields, ends=True)
        _ends.keep(key, block)
    return block


def escaped(sentence: str) -> bytes:
    """`sentence` percent-encoded, as far as it must be."""
    return _TO_ESCAPE.sub(lambda found: b"%%%02X" % found[0][0], sentence.encode(errors="replace"))


def plain_http(code: int) -> Block:
    """The answer to a request that is no call at all."""
    return Block([(b":status", b"%d" % code)], ends=True)
