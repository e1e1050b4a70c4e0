"""How much a peer may ask for that is of no use to anybody: what is cheap to send and not as cheap to take.

PINGs, SETTINGS, calls that are begun and reset, slivers of messages, frames that change nothing: every one costs
goodwill, every call that is answered and every second brings some back. A peer that has used it up is told to calm
down, and its connection ends. Numbers: a client that pings ten times a second, or gives up a hundred calls a second
besides two for each that is answered, is welcome for ever.
"""

from __future__ import annotations

from typing import Final

from server.rpc.http2.errors import Code, ConnectionFault

MOST: Final = 10_000
PER_SECOND: Final = 1_000
ANSWERED: Final = 20
"""Earned by a call, or a message of a stream, that is answered."""

PINGED: Final = 100
SET: Final = 100
RESET: Final = 10
"""A call that began within the last second or two; of older ones it is only a frame."""
REFUSED: Final = 10
"""A stream that was one too many, or whose headers made no call."""
IDLE_FRAME: Final = 1


class Goodwill:
    """`left` is added to without a limit between two seconds: it was worked for."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MOST

    def spend(self, cost: int, what: str) -> None:
        """Raises ConnectionFault when there is none left."""
        self.left -= cost
        if self.left < 0:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, f"too many: {what}")

    def second(self) -> None:
        """A second has passed."""
        self.left = min(self.left + PER_SECOND, MOST)
