"""The model's twin: what the recent requests would have cost under other settings, found by running them again.

Receives a `Picture` (what was learnt, copied so that it holds still), answers the costs of `Settings`. Pure and not
quick (a millisecond for settings that are run to the end): for a thread of its own. Requests in open loop are run
twice, as they came and `STRESS` times as fast: a few hundred requests say too little of a load near the capacity, and a
plan that is only just large enough must not look as good as one with something to spare.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from math import inf

import msgspec

from batcher.arrivals import FEWEST
from batcher.decide import Limits, Plan
from batcher.loads import redrawn
from batcher.objective import Costs, Objective, costs, promised_s
from batcher.rerun import Rerun
from batcher.simulate import Device, Load, Outcome
from batcher.sizes import best_rows, most_in_flight, sizes
from batcher.trial import Trial

STRESS = 1.15
REQUESTS = 400
"""Requests that are run again, or four of five if more are known, and cycles of each client besides: rhythms of many
clients settle slowly."""
CYCLES = 12
LONGER = 4
"""Times as many requests for the judge of objectives that few requests decide."""
STAGES = (1 / 8, 1 / 2, 1.0)
"""Shares of the requests after which it is looked at what they cost so far..."""
LAST = len(STAGES) - 1
SETTLED = 4
"""...but not before so many cycles of each client."""
DIFFERENT = 1.3
BACKLOG = 2
CROWD = 2
"""So many batches wait when more of them than planned may be in flight: the load is not what the plan was made for."""
RUN_MARGIN = 1.25
"""A batch may take so many times as long as expected, and still be over in the time that was promised."""
SILENCE = 5.0
"""Mean gaps between requests of the open load without a request: then the plan is for another load."""


class Settings(msgspec.Struct, frozen=True):
    """What a plan is made from. Seconds and rows; see `decide.Plan` and `sizes`."""

    in_flight: int
    most_rows: int
    round_down: float = 0.0
    enough_rows: int = 1
    patience_s: float = 0.0
    gap_s: float = 0.0
    hold_s: float = 0.0

    @property
    def waits(self) -> bool:
        """Whether anybody is ever waited for."""
        return self.enough_rows > 1 and (self.patience_s > 0 or self.gap_s > 0 or self.hold_s > 0)

    @property
    def wait_s(self) -> float:
        """For no longer anybody is held back, if it comes to the worst."""
        return max(self.patience_s, self.gap_s, self.hold_s) if self.waits else 0.0

    def plan(self, seconds: Sequence[float], slowdown: Sequence[float], load: Load, promised_s: float = inf) -> Plan:
        """For a curve with `seconds[rows]`, batches that slow each other down by `slowdown`, and a load like this.

        Nobody is held back for so long that the answer would come later than `promised_s`.
        """
        table = sizes(tuple(seconds), self.most_rows, self.round_down, BACKLOG)
        crowded = most_in_flight(slowdown), CROWD * self.most_rows
        if not self.waits:
            return Plan(self.in_flight, table, 1, 0.0, 0.0, 0.0, inf, *crowded)
        enough = min(self.enough_rows, self.most_rows)
        opens = load.opens
        silence_s = SILENCE * (opens[-1] - opens[0]) / len(opens) if len(opens) > 1 else inf
        longest_s = max(0.0, promised_s - RUN_MARGIN * seconds[self.most_rows] * slowdown[self.in_flight])
        waits = self.patience_s, self.gap_s, self.hold_s
        return Plan(self.in_flight, table, enough, *waits, silence_s, *crowded, longest_s)


@dataclass(frozen=True, slots=True)
class Picture:
    """What is known of a model and of its clients at one moment."""

    seconds: Sequence[float]
    """Of a batch alone, by rows; item 0 means nothing."""
    slowdown: Sequence[float]
    """By batches in flight, from 0 to the executor's slots."""
    noise: Sequence[float]
    """Factors by which the last batches took longer than expected."""
    load: Load
    limits: Limits
    earlier: Sequence[Load] = ()
    """Loads of some time ago, whose time may come again."""
    objective: Objective = "mean"
    slo_s: float = 0.0

    @property
    def slots(self) -> int:
        """Batches that the executor takes at once."""
        return len(self.slowdown) - 1

    @property
    def promised_s(self) -> float:
        """See `objective.promised_s`."""
        return promised_s(self.objective, self.slo_s)


class Twin:
    """Answers for one picture; remembers what it has tried. `breathe` is called after each run.

    With `times` the load is not run again but drawn anew from it, so many times as long.
    """

    def __init__(self, picture: Picture, breathe: Callable[[], None] | None = None, times: int = 1) -> None:
        self.picture = picture
        self._breathe = breathe
        self.tried: dict[Settings, Trial] = {}
        self._trials: list[Trial] = []
        load = picture.load
        known = len(load.opens) + (len(load.thinks) if load.clients else 0)
        self.requests = 0 if known < FEWEST else min(known, max(REQUESTS, known * 4 // 5, CYCLES * load.clients))
        if load.clients and not load.opens and known >= FEWEST:
            self.requests = max(self.requests, CYCLES * load.clients)
        self.requests *= times
        least = max(FEWEST, SETTLED * load.clients)
        self.stages = [min(self.requests, max(least, int(share * self.requests))) for share in STAGES]
        device = Device.of_table(picture.seconds, picture.slowdown, picture.noise)
        self.best_rows = best_rows(picture.seconds)
        rates = (rows / seconds for rows, seconds in enumerate(picture.seconds) if rows)
        self._rates = [0.0, *accumulate(rates, max)]
        """Rows per second of the best batch of at most so many."""
        # Clients that begin together stay together under plans that would never have brought them together.
        load = replace(load, apart_s=picture.seconds[self.best_rows])
        loads = [load]
        if load.opens:
            loads.append(replace(load, opens=[each / STRESS for each in load.opens]))
            loads += _most_different(load, picture.earlier)
        if times > 1:
            loads = [replace(each, opens=redrawn(each.opens, times * len(each.opens))) for each in loads]
        self.judge = self if picture.objective == "mean" or times > 1 else Twin(picture, breathe, LONGER)
        """Who has the last word: if few requests decide, those of the window say what luck they had."""
        self._loads = [Rerun(each, device, picture.limits) for each in loads]
        half = len(load.opens) // 2
        # Of the busier half: a silence in between says nothing of what there is to do when it is over.
        self.open_rate = max(_open_rate(replace(load, opens=part)) for part in (load.opens[:half], load.opens[half:]))

    @property
    def reran(self) -> int:
        """Requests that were run again so far, of all loads under all plans: what it has cost."""
        mine = len(self._loads) * sum(trial.requests for trial in self._trials)
        return mine if self.judge is self else mine + self.judge.reran

    def costs(self, settings: Settings, stage: int = LAST) -> Costs:
        """By blocks of the requests of this stage; see `objective`."""
        trial = self.tried.get(settings)
        if trial is None:
            picture = self.picture
            plan = settings.plan(picture.seconds, picture.slowdown, picture.load, picture.promised_s)
            trial = self.tried[settings] = self._trial(plan)
        return trial.costs(stage)

    def _trial(self, plan: Plan) -> Trial:
        for trial in self._trials:
            if trial.stands_for(plan):
                return trial
        self._trials.append(Trial(plan, [load.under(plan) for load in self._loads], self.stages, self._costs))
        return self._trials[-1]

    def _costs(self, outcomes: Sequence[Outcome]) -> Costs:
        if self._breathe is not None:
            self._breathe()
        return costs(outcomes, self.picture.objective, self.picture.slo_s)

    def capacity(self, settings: Settings) -> float:
        """Rows per second, if there is always enough to do."""
        return settings.in_flight / self.picture.slowdown[settings.in_flight] * self._rates[settings.most_rows]


def _most_different(load: Load, earlier: Sequence[Load]) -> list[Load]:
    """The earlier load whose rate differs most from this one's, if by more than `DIFFERENT`."""
    rate = _open_rate(load)
    if not rate:  # one request says nothing of a rate
        return []
    ratios = [
        (max(rate, other) / min(rate, other), index) for index, other in enumerate(map(_open_rate, earlier)) if other
    ]
    ratio, index = max(ratios, default=(0.0, 0))
    return [earlier[index]] if ratio > DIFFERENT else []


def _open_rate(load: Load) -> float:
    """Rows per second of the requests that come whatever is answered."""
    if len(load.opens) < 2 or load.opens[-1] <= load.opens[0]:
        return 0.0
    return (len(load.opens) - 1) / (load.opens[-1] - load.opens[0]) * sum(load.rows) / len(load.rows)
