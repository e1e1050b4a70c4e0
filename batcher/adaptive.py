"""The controller that needs no setting: it follows a plan, learns the curve and the arrivals, and finds a better plan.

Asked by the batcher's loop; used unchanged by the simulator. Planning takes some milliseconds and is done
elsewhere: `planner` gets a picture and the settings in force, and calls back with the best settings. Invariants:
1. What it learns costs nothing while enough is known (`listens` is false). 2. Where the curve is not to be trusted it
dispatches when free. 3. At most one planning is under way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeAlias

from msgspec.structs import replace

from batcher.arrivals import FEWEST, Arrivals
from batcher.balance import Balance
from batcher.curve import Curve
from batcher.decide import BUSY, Dispatch, Limits, Plan, WaitUntil
from batcher.explore import Explorer
from batcher.follow import Follower
from batcher.objective import Objective, promised_s
from batcher.search import WORTH_WAITING_S, at_once, search
from batcher.simulate import Load
from batcher.sizes import most_worth
from batcher.twin import Picture, Settings, Twin
from batcher.watch import SHOCK, SURPRISE, Watch

Found: TypeAlias = Callable[[Settings | None], None]
Planner: TypeAlias = Callable[[Picture, Settings | None, Found], None]
"""Searches now or later, and calls back with what it found, or with what it was given. Never from another thread.

A question from someone who has not had his answer takes the place of the earlier one, which gets none.
"""

FIRST = 32
"""Requests before the first planning; then after four times as many, until the window is full."""
REST_S = 1.0
"""Between plannings, once `RESTED_AFTER` requests came; twice as long each time that nothing better is found..."""
LONGEST_REST_S = 30.0
"""...but not longer than this."""
HURRIED_REST_S = 0.1
"""After a planning, if something has changed; twice as long each time that nothing better is found..."""
LONGEST_HURRIED_REST_S = 3.0
"""...but not longer than this, and not if the load is quite another one."""
EARLIER = 4
"""Loads of earlier plannings that are remembered."""
TOP_ROWS = 1024
"""Batches past this size are not thought about."""
RECUT = 256
"""Batches after which it is looked at anew how many rows of one request a batch should have."""
SEEN_AT_REST = 8
"""One batch in so many is learnt from while there is nothing to plan."""
RESTED_AFTER = 2048
"""Requests after which there is a rest between plannings."""


def plan_at_once(picture: Picture, settings: Settings | None, found: Found) -> None:
    """A `Planner` that takes no time: for simulations."""
    found(search(Twin(picture), settings))


class Adaptive:
    """A `Controller`. `seed`: (rows, seconds) of runs that are known already."""

    def __init__(
        self,
        limits: Limits,
        slots: int = 1,
        *,
        seed: Iterable[tuple[int, float]] = (),
        slowdown: Sequence[float] = (),
        objective: Objective = "mean",
        slo_s: float = 0.0,
        planner: Planner = plan_at_once,
    ) -> None:
        self.limits = limits
        self.curve = Curve(slots)
        seed = list(seed)
        for rows, seconds in seed:
            self.curve.measured(rows, seconds)
        self._sound_rows = most_worth(seed, limits.max_batch_rows)
        """Rows of a batch that were worth it when they were measured, with care."""
        self.curve.slowdown[1 : 1 + len(slowdown)] = slowdown
        self.arrivals = Arrivals()
        self.settings: Settings | None = None
        self._top = min(limits.max_batch_rows, TOP_ROWS)
        self._slots = slots
        self._objective: Objective = objective
        self._slo_s = slo_s
        self._planner = planner
        self._planning = self._gave_up = False
        self._earlier: deque[Load] = deque(maxlen=EARLIER)
        self._planned_for = Load()
        self._came = 0
        self._next = FIRST
        self._explorer = Explorer()
        self._rest_s = REST_S
        self._hurried_rest_s = HURRIED_REST_S
        self._balance = Balance()
        self._must_pay = objective in ("mean", "p99")
        """Whether waiting must save time: for others it need only be in time."""
        self._planned_at = -REST_S
        self._watch = Watch()
        self._follower = Follower(self._first_plan(), limits)
        self.listens = True
        self._at_rest = False
        """Nothing is planned: batches are cheap, or there is one client."""
        self._unseen_batches = self._unseen_rows = 0
        """Since one was learnt from."""
        self.cut_rows = limits.max_batch_rows
        if self.curve.known():
            self._learn_cut()

    @property
    def plan(self) -> Plan:
        """What is in force."""
        return self._follower.plan

    @property
    def follower(self) -> Follower:
        """What follows the plan in force."""
        return self._follower

    @property
    def away(self) -> int:
        """Clients that were answered and are not back, if the plan asks for them."""
        return self._follower.away

    def arrived(self, now: float, rows: int, client: int, key: Hashable = ()) -> None:
        """See `Controller`. May be left out while `listens` is false."""
        self._came += 1
        self._follower.arrived(now, rows, client)
        if self.arrivals.recording:
            self.arrivals.arrived(now, rows, client, key)
            if self._came >= self._next:
                self._look(now)

    def decide(self, now: float, rows: int, oldest: float, running: int, key: Hashable = ()) -> Dispatch | WaitUntil:
        """See `Controller`."""
        verdict = self._follower.decide(now, rows, oldest, running, key)
        if verdict is BUSY and 0 < running < self._slots and self._explorer.beside():
            return self._follower.decide(now, rows, oldest, 0, key)
        if isinstance(verdict, Dispatch) and verdict.rows < rows:
            more = self._explorer.larger(verdict.rows, min(rows, self._top), self.curve.seconds)
            if more > verdict.rows:
                return Dispatch(more, verdict.reason)
        if self.plan.enough_rows > 1 and self._must_pay:
            idle = 1 - running / self.plan.in_flight
            if self._balance.overdrawn(now, rows, idle, verdict, key, self.curve.seconds):
                self._follower.plan = replace(self.plan, enough_rows=1)
                self._hurry(now, FIRST, anew=True)
        return verdict

    def started(self, now: float, rows: int, running: int) -> None:
        """See `Controller`."""
        self._explorer.started()

    def finished(
        self, now: float, rows: int, seconds: float, running: float, clients: Sequence[int], key: Hashable = ()
    ) -> None:
        """See `Controller`. `running`: on average during this run, itself included."""
        self._unseen_batches += 1
        self._unseen_rows += rows
        if self._at_rest and self._unseen_batches < SEEN_AT_REST:
            return
        self.curve.ran(rows, seconds, running)
        changed = self._watch.changed(now, self._unseen_rows, self._unseen_batches)
        self._unseen_batches = self._unseen_rows = 0
        if changed and self._hurry(now, FIRST * 2 if changed == SHOCK else FIRST * 4, anew=changed == SHOCK):
            self._watch.reset()
        if not self.curve.runs % RECUT:
            self._learn_cut()
        if not 1 / SURPRISE < self.curve.moved < SURPRISE:
            self.curve.moved = 1.0
            self._explorer.anew()
            self._hurry(now, 1)
        if self.listens:
            self._follower.finished(now, rows, seconds, 0, clients, key)
        if self.arrivals.recording:
            self.arrivals.finished(now, clients)
        elif not self._planning and now - self._planned_at >= self._rest_s:
            self._record_anew()

    def _learn_cut(self) -> None:
        known = [(rows, seconds) for rows, seconds, _ in self.curve.known()]
        sure = self.curve.trusted() and not self._cheap()
        self.cut_rows = most_worth(known, self.limits.max_batch_rows) if sure else self._sound_rows

    def _hurry(self, now: float, requests: int, *, anew: bool = False) -> bool:
        """Something has changed: plan after so many more requests. Not at once again if that has just been done: False.

        With `anew` it may be the requests that have, and those before say nothing of those to come: nor does a plan
        that is being looked for, unless the one before was given up already.
        """
        rest_s = HURRIED_REST_S if anew else self._hurried_rest_s
        if self._came > RESTED_AFTER and now - self._planned_at < rest_s:
            return False
        if self._planning:
            if not anew or self._gave_up:
                return False
            self._planning, self._gave_up = False, True
        if not self.arrivals.recording:
            if self._cheap():
                return False
            self._record_anew()
        elif anew and self.arrivals.fresh >= FEWEST:
            if self.arrivals.fresh > self.arrivals.kept // 4:
                self._earlier.append(self.arrivals.load())
            self.arrivals.forget()
        enough = max(requests, FIRST - len(self.arrivals))
        self._next = min(self._next, self._came + enough)
        self._rest_s = 0.0
        return True

    def _cheap(self) -> bool:
        """Nothing that a plan could say is worth the planning."""
        return self.curve.seconds(1) < WORTH_WAITING_S

    def _record_anew(self) -> None:
        self.arrivals.forget()
        self.arrivals.recording = self.listens = True
        self._at_rest = False
        self._next = self._came + self.arrivals.kept

    def _look(self, now: float) -> None:
        """Enough has come since the last planning. There is no rest while the window fills after a change."""
        self.arrivals.adjust()
        fresh, kept = self.arrivals.fresh, self.arrivals.kept
        self._next = self._came + (max(FIRST, 3 * fresh) if 4 * fresh < kept else kept)
        rested = fresh < kept or self._came <= RESTED_AFTER or now - self._planned_at >= self._rest_s
        if self._planning or not rested:
            return
        if not self.curve.trusted():
            self._follower.plan = self._first_plan()
            return
        if self._cheap() or self.arrivals.lone:
            self._follower.plan = self._first_plan()
            self._planned_at, self._rest_s = now, LONGEST_REST_S
            self.arrivals.recording = self.listens = False
            self._at_rest = True
            self._watch.reset()
            return
        self._planning = True
        self._planned_at = now
        picture = self.picture()
        self._planned_for = picture.load
        if fresh == kept:
            self._earlier.append(picture.load)
            if self.arrivals.span() < REST_S:  # there will be as many again by the time they are needed
                self.arrivals.recording = False
                self.listens = self.plan.enough_rows > 1
        self._planner(picture, self.settings, self._found)

    def picture(self) -> Picture:
        """What is known now, as a copy that does not change."""
        return Picture(
            self.curve.table(self._top),
            tuple(self.curve.slowdown),
            self.curve.noise(),
            self.arrivals.load(),
            self.limits,
            tuple(self._earlier),
            self._objective,
            self._slo_s,
        )

    def _found(self, settings: Settings | None) -> None:
        if not self._planning:  # given up meanwhile
            return
        self._planning = self._gave_up = False
        if settings is None:
            return
        if settings == self.settings:
            self._rest_s = min(max(2 * self._rest_s, REST_S), LONGEST_REST_S)
            self._hurried_rest_s = min(2 * self._hurried_rest_s, LONGEST_HURRIED_REST_S)
        else:
            self._rest_s, self._hurried_rest_s = REST_S, HURRIED_REST_S
            self._watch.reset()
        if self.settings is None or settings.in_flight != self.settings.in_flight:
            self._explorer.anew()
        self.settings = settings
        table, promise = self.curve.table(self._top), promised_s(self._objective, self._slo_s)
        self._follower.plan = settings.plan(table, self.curve.slowdown, self._planned_for, promise)
        self.listens = self.arrivals.recording or settings.waits

    def _first_plan(self) -> Plan:
        """Everything at once, in large batches: which size is best is hardly known, and each costs the loop time.

        What runs under load say of sizes is not asked. It is noisy: the best of many is the luckiest, and who takes it
        hears no more of the larger ones.
        """
        if not self.curve.known():
            return Plan(1, tuple(range(self._top + 1)))
        table, slowdown = self.curve.table(self._top), self.curve.slowdown
        settings = replace(at_once(table, slowdown), most_rows=min(self._sound_rows, self._top))
        return settings.plan(table, slowdown, Load())
