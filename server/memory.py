"""What clients send again and again, remembered within bounds."""

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


class Twice(Memory[bytes, None]):
    """Tells what comes again from what comes once, such as a body with an id that is never repeated."""

    LARGEST = 2 << 10
    """Longer things are always new: they are not worth the room."""

    def seen(self, thing: bytes) -> bool:
        """Whether this was asked before."""
        if len(thing) > self.LARGEST:
            return False
        if thing in self:
            return True
        self.keep(thing, None)
        return False
