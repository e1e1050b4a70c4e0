"""Whose batch may start next on a device that several models share: fair by weight, the urgent first.

Each batcher asks its `Turn`; the turns of one device know each other through its `Turns`. Start-time fair queueing
(Goyal, Vin, Cheng, 1996) with batches for packets: a model's virtual time is the device time that it had by its weight;
of those that contend, who has the lowest goes. A priority moves it by as many seconds as in the queue.

    want -> ask -> [nobody who is behind contends] -> started ... ended -> want, or rest

Pure: times are passed in, in seconds on one clock. Invariants: 1. A model that contends alone never waits. 2. Of those
that want, one may start, unless who is further behind runs, and that for no longer than twice what is expected of it.
3. Who rests saves up no more than `CREDIT_S`. 4. A batch under way is never stopped: who comes waits
for what is left of it or, where batches run beside each other, shares the device with it.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any, NamedTuple

RECENT_S = 0.1
"""How long another model counts as present after its last batch."""
MODEST = 0.8
"""Share of the best rate that is enough for a batch while others are present: they wait for it."""
SHORT_S = 0.001
"""What they may wait for anyway: a batch costs the event loop some 0.1 ms besides what the curve says."""
CREDIT_S = 0.02
"""Device time that who uses less than his share may save up: so he is behind, and goes first, until he uses more."""
PATIENCE = 2.0
"""Times what is expected of a batch, for which a model waits that is ahead of it."""


class Claim(NamedTuple):
    """A batch under way: what was expected of it, and how much a batch had been served when it began; seconds."""

    expected_s: float
    served_s: float


class Turns:
    """One device, as long as the process. Batches that run at once have equal parts of it.

    `alone_is_best`: it has nothing to gain from batches that run beside each other. Then nobody who is ahead of a batch
    under way starts one beside it; else he may, until he has had as much as that one will have.
    """

    def __init__(self, *, alone_is_best: bool = False) -> None:
        self.alone_is_best = alone_is_best
        self.members: list[Turn] = []
        self.contending: dict[Turn, None] = {}
        self.refused: dict[Turn, None] = {}
        self.virtual = 0.0
        """What the furthest behind of those that contended had when a batch last started."""
        self._last: Turn | None = None
        """Who last started a batch, when, and when the last of others had been."""
        self._last_at = self._other_at = -inf
        self.alone: Turn | None = None
        """Who had the device for himself for so long that he need not ask: until another one wants it."""
        self._running = 0
        self._served_s = 0.0
        self._since = 0.0

    def join(self, weight: float = 1.0, expected: Callable[[int], float] | None = None) -> Turn:
        """A place for one more model. `expected`: seconds of a batch by rows; None: as the last one by row."""
        turn = Turn(self, weight, expected)
        self.members.append(turn)
        self.contest()
        return turn

    def contest(self) -> None:
        """From now on all must ask, if there are several."""
        self.alone = None
        for turn in self.members:
            turn.together = len(self.members) > 1

    def run(self, now: float, by: int) -> float:
        """`by` more batches run from now on. Returns the seconds that one would have had that had run all the time."""
        if self._running:
            self._served_s += (now - self._since) / self._running
        self._since = now
        self._running += by
        return self._served_s

    def note(self, turn: Turn, now: float) -> None:
        """A batch of this model starts."""
        if self._last is not turn:
            self._last, self._other_at = turn, self._last_at
        self._last_at = now

    def others_at(self, turn: Turn) -> float:
        """When another model than this one last started a batch."""
        return self._other_at if self._last is turn else self._last_at

    def news(self) -> None:
        """Those who were refused may ask again."""
        refused, self.refused = self.refused, {}
        for turn in refused:
            turn.look()


class Turn:
    """One model's. `look` is called when it was refused and may ask again; `together`: whether others may be about.

    Else nothing need be called but `ended` and `close`.
    """

    __slots__ = (
        "_claims",
        "_expected",
        "_fair_rows",
        "_fair_until",
        "_row_s",
        "_turns",
        "device_s",
        "ends_by",
        "later_s",
        "look",
        "paid_for",
        "running",
        "together",
        "virtual",
        "wants",
        "weight",
    )

    def __init__(self, turns: Turns, weight: float, expected: Callable[[int], float] | None) -> None:
        self.weight = weight
        self.virtual = turns.virtual
        self.later_s = 0.0
        self.wants = False
        self.running = 0
        self.paid_for = 0.0
        """What the batch under way counts as, for others: the virtual time before it or after it."""
        self.ends_by = -inf
        self.device_s = 0.0
        self.together = False
        self.look: Callable[[], None] = lambda: None
        self._turns = turns
        self._expected = expected
        self._claims: dict[int, Claim] = {}
        self._row_s = 0.0
        self._fair_rows, self._fair_until = 1, -inf

    def want(self) -> None:
        """There may be a batch to start: it contends until it has, or `rest` is called."""
        if not self.wants:
            self.wants = True
            self._contend()

    def ask(self, now: float, later_s: float = 0.0) -> float:
        """0 if its batch may start now; else when to ask again, if not told to `look` before that.

        `later_s`: by how much the first of its requests counts as come later than it did; less than 0: it is urgent.
        """
        self.want()
        if later_s != self.later_s:
            self.later_s = later_s
            self._turns.news()
        contending = self._turns.contending
        if len(contending) == 1:
            return 0.0
        mine, again = self.virtual + later_s, 0.0
        for other in contending:
            if other is self:
                continue
            if other.wants and other.virtual + other.later_s < mine:
                again = inf
            elif other.running and now < other.ends_by and other.paid_for + other.later_s < mine:
                again = max(again, other.ends_by)
        if again:
            self._turns.refused[self] = None
        return again

    def rest(self) -> None:
        """There is nothing to start, or it waits for something else."""
        if self.wants:
            self.wants = False
            self._leave()

    def started(self, now: float, rows: int, batch: int = 0) -> None:
        """This batch starts. It pays at once what is expected: the next question finds it where it will be."""
        turns = self._turns
        if not self.wants:
            self.want()
        if len(turns.contending) == 1:
            turns.virtual = max(turns.virtual, self.virtual)
            if now - turns.others_at(self) > RECENT_S:
                turns.alone, self.together = self, False
        else:
            turns.virtual = max(turns.virtual, min([each.virtual for each in turns.contending]))
        expected_s = self._expected(rows) if self._expected is not None else rows * self._row_s
        before = self.virtual
        self.virtual += expected_s / self.weight
        self.paid_for = before if turns.alone_is_best else self.virtual
        self.wants = False
        self.running += 1
        self.ends_by = max(self.ends_by, now + PATIENCE * expected_s)
        turns.note(self, now)
        self._claims[batch] = Claim(expected_s, turns.run(now, +1))
        if turns.refused:
            turns.news()

    def ended(self, now: float, rows: int, batch: int = 0, took_s: float = 0.0, *, more: bool = False) -> None:
        """The batch is through; `more`: it has others to start. What was expected is set right."""
        claim = self._claims.pop(batch, None)
        if claim is None:  # nobody else was about
            self.device_s += took_s
            return
        turns = self._turns
        seconds = turns.run(now, -1) - claim.served_s
        self.virtual += (seconds - claim.expected_s) / self.weight
        self._row_s = seconds / max(1, rows)
        self.device_s += seconds
        self.running -= 1
        self.wants = self.wants or more
        self._leave()

    def close(self, now: float) -> None:
        """The model goes. If batches of it run, nobody wants them any more."""
        self._turns.run(now, -self.running)
        self.wants, self.running = False, 0
        self._claims.clear()
        self._leave()
        self.look = lambda: None  # whoever still knows this turn holds no model by it
        self._turns.refused.pop(self, None)
        self._turns.members.remove(self)
        self._turns.contest()

    def most_rows(self, now: float, limit: int) -> int:
        """Rows of a batch now, of at most `limit`: fewer where others are about, if that costs little of its rate."""
        if self._expected is None or now - self._turns.others_at(self) > RECENT_S:
            return limit
        if now > self._fair_until:
            self._fair_rows, self._fair_until = modest_rows(self._expected, limit), now + RECENT_S
        return min(limit, self._fair_rows)

    @property
    def share(self) -> float:
        """Of the device time that all models had that are here."""
        return self.device_s / (sum([each.device_s for each in self._turns.members]) or 1.0)

    def describe(self) -> dict[str, Any]:
        """As part of the batcher's document."""
        shares = {"weight": self.weight, "share": round(self.share, 4), "seconds": round(self.device_s, 4)}
        return {"device": {**shares, "models": len(self._turns.members)}}

    def _contend(self) -> None:
        turns = self._turns
        if self not in turns.contending:
            if turns.alone is not None:
                turns.contest()
            turns.contending[self] = None
            self.virtual = max(self.virtual, turns.virtual - CREDIT_S / self.weight)

    def _leave(self) -> None:
        turns = self._turns
        if not self.wants and not self.running:
            turns.contending.pop(self, None)
        if turns.refused:
            turns.news()


def modest_rows(expected: Callable[[int], float], limit: int) -> int:
    """The smallest batch with `MODEST` of the best rows per second, or the largest such that is over in `SHORT_S`.

    Sizes are looked at in steps of a quarter.
    """
    sizes = [1]
    while sizes[-1] < limit:
        sizes.append(min(limit, max(sizes[-1] + 1, sizes[-1] * 5 // 4)))
    seconds = [max(expected(rows), 1e-9) for rows in sizes]
    least = MODEST * max(rows / each for rows, each in zip(sizes, seconds, strict=True))
    good = [(rows, each) for rows, each in zip(sizes, seconds, strict=True) if rows / each >= least]
    return max([good[0][0], *(rows for rows, each in good if each <= SHORT_S)])
