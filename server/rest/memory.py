"""A dictionary of what clients repeat, which cannot grow without bound."""

from __future__ import annotations

from typing import TypeVar

MOST = 4096

Key = TypeVar("Key")
Value = TypeVar("Value")


class Memory(dict[Key, Value]):
    """At most MOST entries. When someone makes up ever new ones it starts over: cheaper than to know the oldest."""

    def keep(self, key: Key, value: Value) -> None:
        """Remember `value`."""
        if len(self) >= MOST:
            self.clear()
        self[key] = value
