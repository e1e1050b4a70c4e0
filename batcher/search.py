"""Find the settings that would have served the recent requests best: a local search that tries them on the twin.

Pure, some milliseconds. It starts from what is in force and from the simplest settings (everything at once,
as many batches as the device gains from), moves along one setting at a time, and accepts a move if it gains more than
`LEAST_GAIN` and more than luck explains. A setting that waits must earn it; the simplest is taken back for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import NamedTuple

from msgspec.structs import replace

from batcher.objective import BLOCKS
from batcher.sizes import GROWTH, best_rows, most_in_flight
from batcher.twin import LAST, Settings, Twin

LEAST_GAIN = 0.01
DOUBT = 1.5
"""Standard errors of the mean gain that a gain must exceed."""
QUANTILES = (0.5, 0.8, 0.95, 1.0)
"""Of the think times: how long clients may be waited for..."""
MARGIN = 1.1
"""...times this."""
SCALES = 4
"""Delays tried: a batch's time and its quarters, down to 1/64..."""
FINER = (0.5, 0.7, 1.4, 2.0)
"""...and so many times that of the best so far."""
PACES = (1.0, 1.25, 1.6)
"""Times the smallest batches that can begin at even intervals."""
ROUNDINGS = (0.0, 0.7, 0.85, 0.95)
SPARE = 1.05
"""Capacity, as a multiple of the open load, that settings must have to be tried."""
TIGHT = 0.9
"""...where several are in flight, and a backlog makes batches grow into better ones (`sizes`)."""
WORTH_WAITING_S = 250e-6
"""Nobody is waited for if a row alone takes less: to wake up costs the event loop 25 us, and 10 for each arrival."""
FINALISTS = 4
"""Moves that the twin's judge is asked about, if it has one."""
STEPS = 30
"""Moves at most; three or four are usual."""


def at_once(seconds: Sequence[float], slowdown: Sequence[float]) -> Settings:
    """Everything at once, in batches up to the size with the best rate, as many in flight as the device gains from."""
    return Settings(most_in_flight(slowdown), best_rows(seconds))


def simplest(twin: Twin) -> Settings:
    """What is done where nothing better is known."""
    return at_once(twin.picture.seconds, twin.picture.slowdown)


def search(twin: Twin, now_in_force: Settings | None) -> Settings:
    """The best settings found, which are those in force unless others are better beyond doubt."""
    simple = simplest(twin)
    best = now_in_force or simple
    if not twin.requests:
        return best
    possible = best.in_flight <= twin.picture.slots and _large_enough(twin, best, simple)
    if not possible or _gain(twin.judge, simple, best).mean >= 0:
        best = simple
    starts = _starts(twin, simple)
    for _ in range(STEPS):
        moves = [move for move in dict.fromkeys((*starts, *_moves(twin, best))) if _large_enough(twin, move, simple)]
        starts = []
        better = _best_of(twin, moves, best)
        if better is None:
            break
        best = better
    return best


def _best_of(twin: Twin, moves: Sequence[Settings], best: Settings) -> Settings | None:
    """The move that gains most beyond doubt. It is a race: who hardly can by what was seen so far is not run on."""
    for stage in range(LAST):
        least = stage * LEAST_GAIN  # at first nothing may have told them apart yet
        moves = [move for move in moves if _gain(twin, move, best, stage).most >= least]
    if twin.judge is not twin:
        likeliest = sorted(moves, key=lambda move: -_gain(twin, move, best).mean)[:FINALISTS]
        moves = [move for move in likeliest if _gain(twin, move, best).mean > LEAST_GAIN]
    gains = [(_gain(twin.judge, move, best), move) for move in moves]
    sure = [(gain.mean, move) for gain, move in gains if gain.mean > max(LEAST_GAIN, gain.doubt)]
    if not sure:
        return None
    most = max(sure, key=itemgetter(0))[0]
    # Of those that are as good, who waits least: if the load becomes another one, he loses least.
    return min(sure, key=lambda each: (each[0] < most - LEAST_GAIN, each[1].wait_s, -each[0]))[1]


def _large_enough(twin: Twin, settings: Settings, simple: Settings) -> bool:
    capacity, most = twin.capacity(settings), twin.capacity(simple)
    spare = TIGHT if settings.in_flight > 1 and capacity < most / GROWTH else SPARE
    return capacity >= spare * twin.open_rate or capacity >= 0.99 * most


class _Gain(NamedTuple):
    """A mean over blocks of requests, and by how much it may be luck."""

    mean: float
    doubt: float

    @property
    def most(self) -> float:
        """What there is to be gained."""
        return self.mean + self.doubt


def _gain(twin: Twin, settings: Settings, other: Settings, stage: int = LAST) -> _Gain:
    """As a share of what `other` costs on average under that load: in one block it may be next to nothing."""
    gains: list[float] = []
    mine, others = twin.costs(settings, stage), twin.costs(other, stage)
    for start in range(0, len(others), BLOCKS):
        before = others[start : start + BLOCKS]
        mean = sum(before) / len(before) or 1.0
        gains += [(b - a) / mean for a, b in zip(mine[start : start + BLOCKS], before, strict=True)]
    count = len(gains)
    mean = sum(gains) / count
    error = (sum([(gain - mean) ** 2 for gain in gains]) / (count * (count - 1))) ** 0.5
    return _Gain(mean, DOUBT * error)


def _patiences(twin: Twin) -> list[float]:
    load = twin.picture.load
    if not load.clients or twin.picture.seconds[1] < WORTH_WAITING_S:
        return []
    thinks = sorted(load.thinks)
    longest = 4 * twin.picture.seconds[twin.best_rows]
    found = {MARGIN * thinks[min(len(thinks) - 1, int(share * len(thinks)))] for share in QUANTILES}
    return sorted(each for each in found if 0 < each < longest)


def _starts(twin: Twin, simple: Settings) -> list[Settings]:
    """Too far for single moves: even intervals; all clients in one batch, or an even share in each in flight."""
    clients = twin.picture.load.clients
    together = [
        replace(simple, in_flight=in_flight, enough_rows=max(2, -(-clients // in_flight)), patience_s=patience)
        for patience in _patiences(twin)[-2:]
        for in_flight in {simple.in_flight, *range(1, min(twin.picture.slots, 4) + 1)}
    ]
    return [*_paced(twin, simple), *together]


def _paced(twin: Twin, simple: Settings) -> Iterator[Settings]:
    """Batches that begin at even intervals, each with what came meanwhile: at once, they would begin in bunches."""
    rate, in_flight, seconds = twin.open_rate, simple.in_flight, twin.picture.seconds
    if not rate or in_flight == 1 or seconds[1] < WORTH_WAITING_S:
        return
    slowdown = twin.picture.slowdown[in_flight]
    least = next((rows for rows in range(2, len(seconds)) if seconds[rows] * slowdown * rate <= in_flight * rows), 0)
    for times in PACES if least else ():
        rows = min(len(seconds) - 1, round(times * least))
        yield replace(simple, most_rows=rows, enough_rows=rows, hold_s=rows / rate)


def _moves(twin: Twin, best: Settings) -> Iterator[Settings]:
    """The neighbours of `best`: one setting changed, or two that only make sense together."""
    top, slots = len(twin.picture.seconds) - 1, twin.picture.slots
    for in_flight in {best.in_flight - 1, best.in_flight + 1, 2 * best.in_flight}:
        if 1 <= in_flight <= slots:
            yield replace(best, in_flight=in_flight)
    powers = [2**power for power in range(top.bit_length())]
    for most in {*powers, best.most_rows - 1, best.most_rows + 1, top, twin.best_rows}:
        if 1 <= most <= top:
            yield replace(best, most_rows=most)
            if best.waits and most < 2 * best.enough_rows:
                yield replace(best, most_rows=most, enough_rows=most)
    for share in ROUNDINGS:
        yield replace(best, round_down=share)
    yield from _waits(twin, best)


def _waits(twin: Twin, best: Settings) -> Iterator[Settings]:
    if twin.picture.seconds[1] < WORTH_WAITING_S:
        return
    some = best.enough_rows if best.waits else best.most_rows
    if some > 1:
        for patience in _patiences(twin):
            yield replace(best, patience_s=patience, enough_rows=max(some, twin.picture.load.clients))
        span = twin.picture.seconds[twin.best_rows] + twin.picture.seconds[1]
        scales = [span / 4**power for power in range(SCALES)]
        for delay in (0.0, *scales, *(times * best.hold_s for times in FINER)):
            yield replace(best, hold_s=delay, enough_rows=some)
        for delay in (0.0, *scales, *(times * best.gap_s for times in FINER)):
            yield replace(best, gap_s=delay, enough_rows=some)
    if best.waits:
        enough = best.enough_rows
        for fewer in {enough // 2, enough * 3 // 4, enough - 1, enough + 1, enough * 2}:
            if fewer > 1:
                yield replace(best, enough_rows=fewer)
        yield replace(best, enough_rows=1, patience_s=0.0, gap_s=0.0, hold_s=0.0)
