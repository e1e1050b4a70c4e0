"""What plans are judged by: the tail is that of all loads together, other objectives say something of each."""

from statistics import mean

import pytest

from batcher.objective import BLOCKS, costs, promised_s
from batcher.simulate import Outcome

MANY = 9 * 800


def outcome(*latencies):
    """These latencies in turns, one answer a second."""
    taken = [latencies[at % len(latencies)] for at in range(MANY)]
    finished = [10.0 + at for at in range(MANY)]
    return Outcome([done - each for done, each in zip(finished, taken, strict=True)], finished, [1] * MANY, 1.0)


QUIET, BUSY = outcome(1.0), outcome(*[2.0] * 9, 6.0)


def test_the_tail_is_the_mean_of_the_slowest_tenth():
    assert mean(costs([BUSY], "p99", 0.0)) == pytest.approx(6.0)


def test_the_tail_is_made_by_the_busiest_load():
    """A twentieth takes 6 s, the rest of the slowest tenth 2 s. What the quiet load costs is the same either way."""
    together = costs([QUIET, BUSY], "p99", 0.0)
    assert len(together) == BLOCKS
    assert mean(together) == pytest.approx(4.0)
    assert costs([outcome(0.5), BUSY], "p99", 0.0) == pytest.approx(together)


@pytest.mark.parametrize("objective", ["mean", "goodput", "device_time"])
def test_other_objectives_are_a_matter_of_each_load(objective):
    found = costs([QUIET, BUSY], objective, 4.0)
    assert found == (*costs([QUIET], objective, 4.0), *costs([BUSY], objective, 4.0))
    assert len(found) == 2 * BLOCKS


def test_only_objectives_with_an_slo_promise_a_time():
    promised = {objective: promised_s(objective, 4.0) for objective in ("mean", "p99", "goodput", "device_time")}
    assert promised == {"mean": float("inf"), "p99": float("inf"), "goodput": 4.0, "device_time": 4.0}
