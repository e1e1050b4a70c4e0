"""A replica's word to the supervisor about models that requests wait for.

Receives every arrival and departure from the waiting room, sends `Wake` for the first who waits for a model and `Woken`
when nobody does any more; what becomes of it comes by way of `agreement.py`. The supervisor's side is `roster.py`.
"""

from __future__ import annotations

from collections.abc import Callable

from server.pool.channel import Message, Wake, Woken


class Waker:
    """Used on the replica's event loop only. `send` is the way to the supervisor."""

    def __init__(self, send: Callable[[Message], None]) -> None:
        self._send = send
        self._asked: set[str] = set()

    def wake(self, model: str) -> None:
        """Somebody waits for it. Said again it says nothing."""
        if model not in self._asked:
            self._asked.add(model)
            self._send(Wake(model))

    def woken(self, model: str) -> None:
        """Nobody waits for it any more."""
        if model in self._asked:
            self._asked.discard(model)
            self._send(Woken(model))
