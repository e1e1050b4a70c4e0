"""A load against servers with planted faults: what is reported is what was planted."""

import asyncio

import pytest
import uvloop
from misbehaving import misbehaving

from loadtest.answers import Check, Tolerance
from loadtest.attack import Attack, Course
from loadtest.client import Client
from loadtest.findings import findings
from loadtest.histogram import quantile_ms
from loadtest.load import Load
from loadtest.rest import read
from loadtest.shot import Shot
from loadtest.where import parse

REQUEST = Client(parse("localhost")).request("POST", "/x", {}, b"{}")


def attack(course, times=None, *, connections=4, check=False, **faults):
    async def scenario():
        shots = [Shot("m", REQUEST, Check(read, Tolerance()) if check else None)]
        async with misbehaving(**faults) as (server, fault):
            return await Attack(server, shots, course, connections, times).run(), fault

    tally, fault = uvloop.run(scenario())
    assert tally.sent == tally.ok + tally.wrong + tally.failed + tally.timed_out + tally.unfinished
    return tally, fault


CLOSED = Course(warm_up_s=0, seconds=0.5, timeout_s=1)


def test_a_closed_loop_sends_as_fast_as_it_is_answered_and_counts_all():
    tally, fault = attack(CLOSED)
    assert tally.sent == tally.ok == fault.seen == tally.histogram.get_total_count() > 100
    assert sum(window.ok for window in tally.windows) == tally.ok


def test_what_belongs_to_the_warm_up_counts_nowhere():
    tally, fault = attack(Course(warm_up_s=0.3, seconds=0.3))
    assert 0 < tally.sent < fault.seen


def test_wrong_answers_are_counted_apart_from_errors():
    tally, fault = attack(CLOSED, check=True, wrong_every=100)
    assert tally.wrong == fault.seen // 100 > 0
    assert tally.failed == 0
    assert list(tally.kinds) == ["output 'y' has other values than expected"]


def test_refusals_are_failures_by_their_status():
    tally, fault = attack(CLOSED, refuse_every=10)
    assert tally.kinds == {"status 503": fault.seen // 10}
    assert tally.failed == fault.seen // 10


def test_a_connection_that_is_reset_is_a_failure_and_is_replaced():
    tally, fault = attack(CLOSED, reset_every=50)
    assert tally.failed == fault.seen // 50 > 1
    assert all("connection" in kind for kind in tally.kinds)
    assert tally.ok == fault.seen - tally.failed


def test_a_server_that_closes_after_its_answer_loses_nothing():
    tally, fault = attack(CLOSED, close_every=5)
    assert (tally.ok, tally.failed) == (fault.seen, 0)


@pytest.mark.parametrize("faults", [{"close_every": 1}, {"reset_every": 1}])
def test_connections_that_are_gone_are_opened_anew_at_once(faults):
    tally, fault = attack(CLOSED, **faults)
    assert tally.sent == fault.seen > 100  # looked for them every 50 ms there would be 40


def test_who_is_never_answered_times_out_and_is_not_dropped():
    tally, _ = attack(Course(0, 0.5, timeout_s=0.1), silent_every=100)
    assert tally.timed_out > 0
    assert tally.kinds == {"timed out": tally.timed_out}


def test_times_are_kept_whatever_is_answered():
    load = Load(64, 500, seed=7)
    tally, fault = attack(Course(0, 2.0, timeout_s=1), load.times(), connections=64)
    planned = sum(1 for _ in _until(load.times(), 2.0))
    assert tally.sent == tally.ok == planned == fault.seen


def test_connections_of_an_open_load_are_used_in_turns():
    _, fault = attack(Course(0, 1.0), Load(8, 200, "constant").times(), connections=8)
    assert len(fault.connections) == 8
    assert min(fault.connections.values()) > 12  # of 25


def test_a_stalled_server_shows_in_the_latencies_of_all_who_should_have_been_sent():
    course = Course(warm_up_s=0, seconds=2.0, timeout_s=5)
    tally, _ = attack(course, Load(4, 200, "constant").times(), stall_at=100, stall_s=0.5)
    assert tally.sent == tally.ok == 400
    # 100 requests were due meanwhile, 90 of them had to wait for more than 50 ms; of those in flight there were four.
    assert _slower_than(tally, 0.05) >= 85
    assert quantile_ms(tally.histogram, 1.0) >= 499


def test_a_server_that_stalls_again_and_again_shows_as_often():
    course = Course(warm_up_s=0, seconds=2.0, timeout_s=5)
    load = Load(4, 200, "constant")
    tally, _ = attack(course, load.times(), stall_every=100, stall_s=0.2)
    assert tally.sent == tally.ok == 400
    # Of the 40 requests that are due in each of three or four stalls, 30 wait for more than 50 ms.
    assert 80 <= _slower_than(tally, 0.05) <= 140


@pytest.mark.parametrize(("warm_up_s", "slow"), [(0.0, True), (0.4, False)])
def test_a_slow_start_is_seen_unless_it_is_in_the_warm_up(warm_up_s, slow):
    course = Course(warm_up_s, seconds=0.5, timeout_s=5)
    tally, _ = attack(course, Load(64, 200, "constant").times(), connections=64, slow_for_s=0.3)
    assert (quantile_ms(tally.histogram, 0.5) > 45) is slow


def test_findings_are_json_and_add_up():
    tally, _ = attack(CLOSED, refuse_every=10)
    found = findings(tally, "4 connections", 0.2, bound=False)
    requests = found["requests"]
    assert requests["sent"] == sum(count for name, count in requests.items() if name != "sent")
    assert found["per_s"] == pytest.approx(requests["ok"] / found["seconds"], rel=0.01)
    assert found["latency_ms"]["p50"] <= found["latency_ms"]["p99"] <= found["latency_ms"]["max"]
    assert found["what"] == {"status 503": requests["failed"]}


def test_a_server_that_is_not_there_is_an_error():
    async def nobody():
        async with misbehaving() as (server, _):
            pass
        await Attack(server, [Shot("m", REQUEST)], CLOSED, 4).run()

    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        asyncio.run(nobody())


def _until(times, end):
    for time in times:
        if time >= end:
            return
        yield time


def _slower_than(tally, seconds):
    iterator = tally.histogram.get_recorded_iterator()
    return sum(each.count_at_value_iterated_to for each in iterator if each.value_iterated_to > seconds * 1e6)
