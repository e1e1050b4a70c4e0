"""Models that share a device get it by weight, the urgent first, and nobody waits for ever."""

import asyncio

import pytest
from batcher_fakes import Asked, Batching
from fakes import FakeExecutor, PuppetExecutor
from hypothesis import given
from hypothesis import strategies as st
from virtual_time import turns, virtual

from batcher.turns import MODEST, RECENT_S, Turns, modest_rows


class Shared:
    """Models that always have a batch to start, on a device that runs one at a time."""

    def __init__(self, weights, seconds):
        self.turns = Turns()
        self.models = [
            self.turns.join(weight, lambda rows, each=each: each) for weight, each in zip(weights, seconds, strict=True)
        ]
        self.seconds = seconds
        self.now = 0.0
        self.order = []
        for model in self.models:
            model.want()

    def run(self, batches, later_s=None):
        """All want all the time. Of those who may start, the first of the list does."""
        later_s = later_s or [0.0] * len(self.models)
        for model, each in zip(self.models, later_s, strict=True):
            model.ask(self.now, each)
        for _ in range(batches):
            free = [index for index, model in enumerate(self.models) if not model.ask(self.now, later_s[index])]
            assert free, "the device is free, and nobody may start"
            index = free[0]
            self.models[index].started(self.now, 1)
            self.order.append(index)
            self.now += self.seconds[index]
            self.models[index].ended(self.now, 1, more=True)

    def times(self):
        return [model.device_s for model in self.models]


def test_a_model_alone_never_waits():
    shared = Turns()
    one, other = shared.join(1.0), shared.join(1.0)
    for now in range(100):
        assert one.ask(now) == 0
        one.started(now, 1)
        assert one.ask(now + 0.5) == 0, "a second slot of its own"
        one.rest()
        one.ended(now + 1, 1)
    assert other.ask(100) == 0, "who comes late finds the other no more than a batch ahead"


def test_weights_are_shares_of_the_time_and_not_of_the_batches():
    shared = Shared([3.0, 1.0], [0.010, 0.064])
    shared.run(3000)
    first, second = shared.times()
    assert first / second == pytest.approx(3, rel=0.01)


@given(
    st.lists(st.tuples(st.floats(0.1, 10), st.floats(0.001, 1)), min_size=2, max_size=6),
)
def test_everybody_has_his_share_but_for_a_batch(models):
    weights, seconds = zip(*models, strict=True)
    shared = Shared(weights, seconds)
    shared.run(200)
    for weight, time in zip(weights, shared.times(), strict=True):
        behind = weight / sum(weights) * shared.now - time
        assert behind <= weight / sum(weights) * sum(seconds) + max(seconds) + 1e-6


@given(st.lists(st.tuples(st.floats(0.1, 10), st.floats(0.001, 1), st.floats(-5, 5)), min_size=2, max_size=6))
def test_nobody_starves_whatever_is_urgent(models):
    """Urgency is worth so many seconds of the device and no more: then everybody has his share again."""
    weights, seconds, later_s = zip(*models, strict=True)
    shared = Shared(weights, seconds)
    shared.run(500, later_s)
    for weight, time in zip(weights, shared.times(), strict=True):
        behind = weight / sum(weights) * shared.now - time
        assert behind <= weight * 10 + weight / sum(weights) * sum(seconds) + max(seconds) + 1e-6


def test_the_urgent_start_first_until_they_have_had_what_it_is_worth():
    shared = Shared([1.0, 1.0], [1.0, 1.0])
    shared.run(30, [0.0, -10.0])
    assert shared.order[:10] == [1] * 10
    assert shared.order[11:].count(0) == pytest.approx(shared.order[11:].count(1), abs=1)


def test_who_rested_saves_nothing_up():
    shared = Turns()
    busy, guest = shared.join(), shared.join()
    for now in range(50):
        busy.want()
        busy.started(now, 1)
        busy.ended(now + 1, 1, more=True)
    guest.want()
    assert guest.ask(50) == 0
    assert busy.ask(50) > 0, "it is a batch ahead"
    guest.started(50, 1)
    guest.ended(52, 1, more=True)
    assert guest.ask(52) > 0, "its batch was twice as long"
    assert busy.ask(52) == 0


def test_who_is_ahead_waits_for_a_batch_that_runs_but_not_for_one_that_hangs():
    shared = Turns()
    behind, ahead = shared.join(expected=lambda rows: 1.0), shared.join(expected=lambda rows: 1.0)
    ahead.want()
    ahead.started(0, 1)
    ahead.ended(9, 1, more=True)
    behind.want()
    behind.started(9, 1)
    behind.rest()
    assert ahead.ask(9) == pytest.approx(11)
    assert ahead.ask(11) == 0


@pytest.mark.parametrize(("alone_is_best", "granted"), [(True, 2.0), (False, 0.0)])
def test_who_is_ahead_starts_beside_a_batch_only_where_both_gain(alone_is_best, granted):
    shared = Turns(alone_is_best=alone_is_best)
    busy, guest = shared.join(expected=lambda rows: 0.1), shared.join(expected=lambda rows: 1.0)
    busy.want()
    busy.started(0.0, 1)
    guest.want()
    assert guest.ask(0.0) == 0, "who is behind starts beside what runs already"
    guest.started(0.0, 1)
    busy.ended(0.2, 1, more=True)
    assert busy.ask(0.2) == granted


def test_batches_that_run_beside_each_other_are_charged_for_their_part():
    shared = Turns()
    one, other = shared.join(), shared.join()
    one.started(0, 1)
    other.started(2, 1)
    one.ended(6, 1)
    other.ended(7, 1)
    assert (one.device_s, other.device_s) == (4, 3)
    assert (one.share, other.share) == pytest.approx((4 / 7, 3 / 7))


def test_who_was_refused_is_told_when_he_may_ask_again():
    shared, looks = Turns(), []
    one, other = shared.join(), shared.join()
    other.look = lambda: looks.append("other")
    other.started(0, 1)
    other.ended(1, 1, more=True)
    one.virtual = 0.0
    one.want()
    assert other.ask(1) > 0
    assert looks == []
    one.rest()
    assert looks == ["other"]
    assert other.ask(1) == 0


def test_a_model_that_goes_holds_nobody_up():
    shared, looks = Turns(), []
    one, other = shared.join(), shared.join()
    other.look = lambda: looks.append("other")
    other.started(0, 1)
    other.ended(1, 1, more=True)
    one.virtual = 0.0
    one.started(1, 1)
    one.want()
    assert other.ask(1) > 0
    one.close(2)
    assert looks == ["other"]
    assert not other.together
    assert other.ask(2) == 0
    other.started(2, 1)
    other.ended(5, 1)
    assert other.device_s == 1 + 3


def test_batches_are_modest_while_others_are_about_where_that_costs_little():
    def linear(rows):
        return 0.001 + 0.001 * rows

    def streams_weights(rows):
        return 0.010 + 0.0001 * rows

    shared = Turns()
    cheap, dear, plain = shared.join(1, linear), shared.join(1, streams_weights), shared.join()
    assert cheap.most_rows(0, 64) == 64, "nobody else has been seen"
    dear.started(0, 1)
    dear.ended(0.01, 1)
    few = cheap.most_rows(0.01, 64)
    assert few / linear(few) >= MODEST * 64 / linear(64)
    assert few <= 12
    assert dear.most_rows(0.01, 64) > 48
    assert plain.most_rows(0.01, 64) == 64, "nothing is known of it"
    assert cheap.most_rows(0.02 + RECENT_S, 64) == 64


def test_who_has_the_device_for_himself_need_not_ask_until_another_wants_it():
    shared = Turns()
    one, other = shared.join(expected=lambda rows: 0.01), shared.join()
    other.started(0.0, 1)
    other.ended(0.01, 1)
    now = 0.02
    while one.together:
        assert now <= RECENT_S + 0.1
        assert one.ask(now) == 0
        one.started(now, 1)
        one.ended(now + 0.01, 1)
        now += 0.02
    assert now > RECENT_S
    assert other.together
    assert other.ask(now) == 0, "whatever the one runs by now"
    assert one.together
    assert one.most_rows(now, 64) == 64, "the other has done nothing yet"
    other.started(now, 1)
    assert one.most_rows(now, 64) < 64


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=64))
def test_modest_batches_have_a_rate_that_is_modest_and_not_more_rows_than_may_be(costs):
    seconds = [0.0, *costs]
    few = modest_rows(lambda rows: seconds[rows], len(costs))
    assert 1 <= few <= len(costs)
    assert few / seconds[few] >= MODEST * len(costs) / seconds[-1] * (1 - 1e-9)


def test_batches_that_are_over_before_anybody_notices_are_not_made_smaller():
    assert modest_rows(lambda rows: 0.0001 + 0.00001 * rows, 64) == 64
    assert modest_rows(lambda rows: 0.0001 + 0.00002 * rows, 64) == 41  # of 1, 2, 3, ... 33, 41, 51, 63, 64
    assert modest_rows(lambda rows: 0.01 + 0.001 * rows, 64) < 64


class Pair:
    """Two batchers under virtual time whose executors share a device."""

    def __init__(self, executors, weights=(1.0, 1.0), seconds=(0.0, 0.0), **options):
        shared = Turns()
        self.one, self.other = (
            Batching(executor, turn=shared.join(weight, lambda rows, each=each: each), **options)
            for executor, weight, each in zip(executors, weights, seconds, strict=True)
        )

    async def __aenter__(self):
        self.one.start()
        self.other.start()
        return self.one, self.other

    async def __aexit__(self, *_):
        await self.one.close()
        await self.other.close()


def urgent(batcher, values, later_s):
    entry = Asked(values, asyncio.get_running_loop().time())
    entry.rank += later_s
    batcher.submit(entry)
    return entry


@virtual
async def test_a_flood_does_not_start_again_and_again_while_another_model_waits():
    one, other = FakeExecutor(seconds=1), FakeExecutor(seconds=0.25)
    async with Pair((one, other), (1.0, 1.0), (1.0, 0.25), max_batch_rows=1) as (flood, guest):
        for value in range(20):
            flood.ask([value])
        await asyncio.sleep(5.5)
        for value in range(3):
            guest.ask([value])
        await asyncio.sleep(20)
        assert other.starts == [5.5, 5.75, 6.0], "beside what runs already, and then before what would follow"
        assert one.starts[5:8] == [5, 6.25, 7.25]
        assert len(one.seen) == 20


@virtual
async def test_floods_get_the_device_by_weight():
    one, other = FakeExecutor(seconds=0.01), FakeExecutor(seconds=0.01)
    async with Pair((one, other), (3.0, 1.0), (0.01, 0.01), max_batch_rows=1, max_queue_rows=10_000) as (heavy, light):
        for value in range(3000):
            heavy.ask([value])
            light.ask([value])
        await asyncio.sleep(10)
        times = [batcher.describe()["device"]["seconds"] for batcher in (heavy, light)]
        assert times[0] / times[1] == pytest.approx(3, rel=0.1)


@virtual
async def test_urgent_requests_of_one_model_go_before_those_of_another():
    one, other = FakeExecutor(seconds=1), FakeExecutor(seconds=1)
    async with Pair((one, other), (1.0, 1.0), (1.0, 1.0), max_batch_rows=1) as (patient, hasty):
        for _ in range(6):
            patient.ask([1])
            hasty.ask([1])
        await asyncio.sleep(2.5)
        for _ in range(4):
            urgent(hasty, [2], -10.0)
        await asyncio.sleep(20)
        urgently = [start for start, x in other.seen if x[0] == 2]
        assert not [start for start in one.starts if urgently[0] < start < urgently[-1]]
        assert len(one.seen) == 6
        assert len(other.seen) == 10


@virtual
async def test_clients_that_leave_hold_no_other_model_up():
    one, other = PuppetExecutor(), PuppetExecutor()
    async with Pair((one, other), max_batch_rows=1) as (flood, guest):
        flood.ask([1])
        await turns()
        await asyncio.sleep(1)
        guest.ask([0])
        gone = guest.ask([1])
        await turns()
        guest.cancel(gone)
        flood.ask([2])
        one.finish()
        await turns()
        other.finish()
        await turns(30)
        assert len(one.seen) == 2
        one.finish()
        await turns()


@virtual
async def test_a_model_alone_on_its_device_takes_no_turns():
    executor = FakeExecutor(seconds=1)
    turn = Turns().join()
    batcher = Batching(executor, turn=turn)
    batcher.start()
    batcher.ask([1])
    await asyncio.sleep(5)
    assert not turn.together
    assert batcher.describe()["device"] == {"weight": 1.0, "share": 1.0, "seconds": 1.0, "models": 1}
    await batcher.close()
