"""Several runs: the highest rate that holds, of a server and of a generator that each have a limit."""

import pytest

from loadtest.campaign import Unsound, find_max, knee, versus
from loadtest.criteria import parse
from loadtest.findings import findings
from loadtest.load import Load
from loadtest.tally import Tally

BEGAN = 100.0
CRITERIA = parse("p99<50ms,errors==0")


def ran(rate, *, server, generator):
    """Findings of a run: the server answers late past one rate, requests are sent late past another."""
    tally = Tally(BEGAN, 1.0)
    for number in range(100):
        now = BEGAN + (number + 1) / 101
        tally.was_sent(10, 0.02 if rate > generator else 0.0)
        late = rate > server or rate > generator  # latencies count from the intended times
        tally.was_right(now, "m", 0.2 if late else 0.001)
    tally.close(BEGAN + 1.0, BEGAN + 1.0)
    return findings(tally, f"{rate:g}", 0.5, bound=True)


def searched(**limits):
    told = []
    best, found = find_max(lambda load: ran(load.rate, **limits), Load(8, rate=100.0), CRITERIA, told.append)
    assert told == found
    return best


def test_the_highest_rate_is_that_of_the_server():
    assert searched(server=1500, generator=10_000) == pytest.approx(1500, rel=0.06)


def test_where_the_generator_is_the_limit_nothing_is_concluded_and_the_reason_is_said():
    with pytest.raises(Unsound, match=r"at 1,600 requests/s 1 % of the requests were sent more than .* ms late"):
        searched(server=10_000, generator=1500)


def test_a_generator_that_is_late_in_a_run_that_holds_all_the_same_is_no_reason_to_stop():
    def once(load):
        found = ran(load.rate, server=1500, generator=10_000)
        held = found["latency_ms"]["p99"] < 50
        return found | {"generator": {"doubts": ["late"] if held else []}}

    best, _ = find_max(once, Load(8, rate=100.0), CRITERIA, lambda found: None)
    assert best == pytest.approx(1500, rel=0.06)


def test_a_generator_that_fills_its_core_is_doubted_in_a_closed_loop_only():
    tally = Tally(BEGAN, 1.0)
    tally.close(BEGAN + 1.0, BEGAN + 1.0)
    assert findings(tally, "closed", 0.97, bound=False)["generator"]["doubts"] == [
        "the generator needed 97% of its core"
    ]
    assert findings(tally, "open", 0.97, bound=True)["generator"]["doubts"] == []


def test_the_knee_is_the_first_load_that_has_nearly_all():
    found = [{"per_s": rate} for rate in (100.0, 960.0, 1000.0, 990.0)]
    assert knee(found) is found[1]


def test_two_servers_are_asked_in_turns_forth_and_back():
    order = []
    first, second = versus(
        lambda load: order.append("A") or {"of": "A"}, lambda load: order.append("B") or {"of": "B"}, Load(8), 4
    )
    assert "".join(order) == "ABBAABBA"
    assert [each["of"] for each in (*first, *second)] == ["A"] * 4 + ["B"] * 4
