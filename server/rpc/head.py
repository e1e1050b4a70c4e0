"""What a call's headers say of an infer request: its metadata, read before the message.

The same as `server.rest.head` for the other protocol. The deadline is added for each call (`call`).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from server.patience import TIMEOUT, sooner, timeout_us

STICKY = "headrace-sticky"


class Head(msgspec.Struct):
    """`timeout_us`: the metadata's, or what is left until the deadline if that is less; 0: neither is given.

    Of requests that leave the version to a split, those with the same `sticky` get the same one.
    """

    timeout_us: int = 0
    sticky: str = ""


def read_head(fields: Iterable[tuple[bytes, bytes]]) -> Head:
    """The head in a call's headers. Raises BadRequest."""
    head = Head()
    for key, value in fields:
        if key == TIMEOUT.encode():
            head.timeout_us = sooner(head.timeout_us, timeout_us(value.decode(errors="replace")))
        elif key == STICKY.encode():
            head.sticky = value.decode(errors="replace").strip()
    return head
