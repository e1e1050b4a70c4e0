"""What a call says of an infer request beside its message: its deadline and its metadata, read before the message.

The same as `server.rest.head` for the other protocol.
"""

from __future__ import annotations

import msgspec

from server.patience import TIMEOUT, sooner, timeout_us
from server.rpc.calls import Call

STICKY = "headrace-sticky"


class Head(msgspec.Struct):
    """`timeout_us`: what is left until the deadline, or the metadata's if that is less; 0: neither is given.

    Of requests that leave the version to a split, those with the same `sticky` get the same one.
    """

    timeout_us: int = 0
    sticky: str = ""


def read_head(call: Call) -> Head:
    """The head of `call`. Raises BadRequest."""
    head = Head()
    left_s = call.time_remaining()
    if left_s is not None:
        head.timeout_us = max(1, int(left_s * 1e6))
    for key, value in call.invocation_metadata() or ():
        if key == TIMEOUT:
            head.timeout_us = sooner(head.timeout_us, timeout_us(str(value)))
        elif key == STICKY and isinstance(value, str):
            head.sticky = value.strip()
    return head
