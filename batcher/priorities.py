"""How urgent a request is: V2's `priority`, 1 the most urgent, as seconds by which it counts as come earlier or later.

Pure. Asked by the data plane for requests that have one. Level n goes behind level 1 by n - 1 times `ageing_s`, so that
a request is overtaken only by those that come within a time that is known when it comes, and nobody starves.
"""

from __future__ import annotations

from headrace.errors import BadRequest
from headrace.models import ModelId


class Priorities:
    """Of one model. `levels` 0: any; `default`: the level of those that give none, which count from their arrival."""

    __slots__ = ("_ageing_s", "_default", "_levels", "_model")

    def __init__(self, model: ModelId, levels: int, default: int, ageing_s: float) -> None:
        self._model = model
        self._levels = levels
        self._default = default
        self._ageing_s = ageing_s

    def later_s(self, level: int) -> float:
        """What to add to the rank of a request of this level, 1 or more. Raises BadRequest if there is none."""
        if self._levels and level > self._levels:
            raise BadRequest(
                f"parameter priority of the request is {level}, model {self._model.name!r} has the levels 1 to"
                f" {self._levels} (priority_levels), and 0 for level {self._default}"
            )
        return (level - self._default) * self._ageing_s
