"""What is answered in time when more comes than can be served, in simulation: the outlook that the server asks."""

from dataclasses import replace
from random import Random

import pytest

from batcher import loads
from batcher.adaptive import Adaptive
from batcher.decide import Limits
from batcher.outlook import Outlook
from batcher.simulate import Device, simulate
from batcher.sizes import best_rows

SWEEP = (1, 2, 3, 4, 5, 8, 9, 16)
ROWS = 16
COLD = 0.2


def affine(rows):
    return 0.004 + 0.0005 * rows


def stepped(rows):
    return 0.004 + 0.001 * (1 << (rows - 1).bit_length())


def run(seconds, share, slo, *, foretold=True, clients=0, slots=1):
    """(share of what can be served that is answered in time, outcome)"""
    table = [0.0, *(seconds(rows) for rows in range(1, ROWS + 1))]
    best = best_rows(table)
    slowdown = [1.0, *map(float, range(1, slots + 1))]
    capacity, slo_s = best / table[best], slo * table[best]
    random = Random(3)
    device = Device(seconds, slowdown, [random.lognormvariate(0, 0.05) for _ in range(1009)])
    if clients:
        load = loads.closed(clients, 0.001, 4000, seed=1)
    else:
        load = loads.poisson(share * capacity, int(2000 * max(1.0, share)), seed=1)
    load = replace(load, timeouts=(slo_s,))
    controller = Adaptive(Limits(ROWS), slots, seed=[(n, table[n]) for n in SWEEP], slowdown=slowdown[1:])
    outlook = Outlook(controller, ROWS) if foretold else None
    outcome = simulate(load, device, controller, 3000 if clients else len(load.opens), outlook=outlook)
    begin = COLD * outcome.finished[-1]
    end = outcome.finished[-1] if clients else load.opens[-1]
    in_time = sum(begin <= done < end and done <= due for done, due in zip(outcome.finished, outcome.dues, strict=True))
    offered = capacity * (end - begin) if clients else sum(begin <= came < end for came in load.opens)
    return in_time / min(offered, capacity * (end - begin)), outcome


@pytest.mark.parametrize("seconds", [affine, stepped])
@pytest.mark.parametrize("slo", [2.5, 5.0])
@pytest.mark.parametrize("share", [1.1, 2.0, 5.0])
def test_goodput_does_not_fall_in_overload(seconds, slo, share):
    goodput, outcome = run(seconds, share, slo)
    assert goodput > 0.95
    assert outcome.refused


def test_it_does_where_nobody_is_refused():
    assert run(affine, 2.0, 5.0, foretold=False)[0] < 0.2


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_nobody_is_refused_below_the_capacity(share):
    goodput, outcome = run(affine, share, 5.0)
    assert goodput > 0.995
    assert len(outcome.refused) + len(outcome.left) < 0.005 * len(outcome.finished)


def test_clients_that_are_refused_come_back():
    goodput, outcome = run(affine, 0.0, 2.5, clients=200)
    assert goodput > 0.9
    assert len(outcome.refused) > len(outcome.finished), "most are refused most of the time"


def test_batches_in_flight_beside_each_other_are_foretold_too():
    assert run(affine, 2.0, 6.0, slots=2)[0] > 0.9


def test_every_request_is_answered_refused_or_leaves():
    for share in (0.9, 3.0):
        _, outcome = run(affine, share, 2.5)
        arrived = len(outcome.finished) + len(outcome.refused) + len(outcome.left)
        assert arrived == int(2000 * max(1.0, share))
