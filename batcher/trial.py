"""A plan that is tried on some loads: what it costs, in stages, each of which goes on where the one before stopped.

Receives the runs, none of which has begun, from the twin. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from batcher.decide import Plan
from batcher.objective import Costs
from batcher.rerun import Run
from batcher.simulate import Outcome


class Trial:
    """`runs`: one for each load. `stages`: how many requests of each are answered then. `judge`: what they cost."""

    __slots__ = ("_costs", "_judge", "_most_waiting", "_runs", "_same", "_stages", "plan")

    def __init__(
        self, plan: Plan, runs: Sequence[Run], stages: Sequence[int], judge: Callable[[Sequence[Outcome]], Costs]
    ) -> None:
        self.plan = plan
        self._runs = runs
        self._stages = stages
        self._judge = judge
        self._costs: list[Costs] = []
        self._most_waiting = 0
        self._same: Plan | None = None
        """What stands for all plans that would have decided the same, once it has come to the end."""

    @property
    def ended(self) -> bool:
        """Whether it has come through all stages."""
        return len(self._costs) == len(self._stages)

    @property
    def requests(self) -> int:
        """Of each load, answered so far."""
        return self._stages[len(self._costs) - 1] if self._costs else 0

    def costs(self, stage: int) -> Costs:
        """Of this stage, under all loads."""
        while len(self._costs) <= stage:
            outcomes = [run(self._stages[len(self._costs)]) for run in self._runs]
            self._costs.append(self._judge(outcomes))
            if self.ended:
                self._most_waiting = max(outcome.most_waiting for outcome in outcomes)
                self._same = self.plan.up_to(self._most_waiting)
        return self._costs[stage]

    def stands_for(self, plan: Plan) -> bool:
        """Whether that one costs the same beyond doubt: it is the same, or differs where this one never was asked."""
        return plan == self.plan or (self.ended and plan.up_to(self._most_waiting) == self._same)
