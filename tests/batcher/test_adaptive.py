"""The learning controller in simulation: what it finds out, without being told."""

import pytest

from batcher import loads
from batcher.adaptive import Adaptive, plan_at_once
from batcher.decide import Limits, Plan, WaitUntil
from batcher.simulate import Device, simulate
from batcher.sizes import sizes
from batcher.timer import Timer
from batcher.twin import Settings

SWEEP = (1, 2, 4, 8, 16, 32, 64)


def affine(rows):
    return 0.004 + 0.0005 * rows


def stepped(rows):
    return 0.004 + 0.001 * (1 << (rows - 1).bit_length())


def adaptive(device, slots=1, **options):
    seed = [(rows, device.seconds(rows)) for rows in (1, 2, 3, 4, 5, 8, 9, 16, 17, 32, 33, 64)]
    return Adaptive(Limits(64), slots, seed=seed, slowdown=device.slowdown[1:], **options)


def mean_latency(load, device, controller, requests=3000):
    outcome = simulate(load, device, controller, requests)
    late = [end - came for came, end in zip(outcome.arrived, outcome.finished, strict=True)][requests // 5 :]
    return sum(late) / len(late)


def test_clients_that_come_back_at_once_are_waited_for():
    device, load = Device(affine), loads.closed(8, 0.0003, 3000, seed=1)
    greedy = mean_latency(load, device, Timer(Limits(64, 0.0)))
    assert mean_latency(load, device, adaptive(device)) < 0.8 * greedy


def test_nobody_is_waited_for_where_arrivals_do_not_follow_answers():
    device, load = Device(affine), loads.poisson(150, 3000, seed=1)
    greedy = mean_latency(load, device, Timer(Limits(64, 0.0)))
    assert mean_latency(load, device, adaptive(device)) == pytest.approx(greedy, rel=0.02)


def test_rows_that_would_open_a_step_for_a_few_are_left_behind():
    device, load = Device(stepped), loads.poisson(470, 3000, seed=1)
    greedy = mean_latency(load, device, Timer(Limits(64, 0.0)))
    assert mean_latency(load, device, adaptive(device)) < 0.9 * greedy


@pytest.mark.parametrize(("parallel", "in_flight"), [(1, 1), (4, 4)])
def test_as_many_batches_are_in_flight_as_the_device_really_runs(parallel, in_flight):
    device = Device(affine, [1.0, *(max(1.0, k / parallel) for k in range(1, 5))])
    controller = adaptive(device, slots=4)
    simulate(loads.poisson(600 * parallel, 3000, seed=1), device, controller, 3000)
    assert controller.plan.in_flight == in_flight


def test_the_same_requests_are_answered_under_any_controller():
    device, load = Device(affine), loads.poisson(400, 500, seed=3)
    for controller in (adaptive(device), Timer(Limits(64, 0.002)), Timer(Limits(8, 0.0), 2)):
        outcome = simulate(load, device, controller, 500)
        assert sorted(outcome.arrived) == sorted(load.opens)
        assert all(end > came for came, end in zip(outcome.arrived, outcome.finished, strict=True))


def test_no_batch_is_above_the_limit():
    device, load = Device(affine), loads.poisson(2000, 2000, seed=3)
    controller = Adaptive(Limits(8), seed=[(rows, affine(rows)) for rows in (1, 2, 4, 8)])
    assert max(simulate(load, device, controller, 2000).batches) == 8


def test_the_delay_limit_bounds_every_wait():
    device, load = Device(affine), loads.closed(2, 0.003, 1000, seed=1, spread=0.1)
    controller = Adaptive(Limits(64, 0.0), seed=[(rows, affine(rows)) for rows in SWEEP])
    assert mean_latency(load, device, controller, 1000) == mean_latency(load, device, Timer(Limits(64, 0.0)), 1000)


def test_a_backlog_makes_batches_grow_past_what_the_plan_asks_for():
    seconds = [0.0, *map(affine, range(1, 65))]
    table = sizes(tuple(seconds), most_rows=8, round_down=0.0, backlog=4)
    assert table[:9] == tuple(range(9))
    assert table[20] == 8
    assert table[160] == 40
    assert table[-1] == 64


def test_nothing_is_planned_where_a_batch_costs_less_than_waking_up():
    device, load = Device(lambda rows: 0.00006 + 0.00001 * rows), loads.closed(8, 0.00003, 3000, seed=1)
    controller = adaptive(device)
    simulate(load, device, controller, 3000)
    assert controller.settings is None
    assert not controller.listens
    assert controller.plan.enough_rows == 1


def test_sizes_that_were_said_to_be_bad_are_tried_again():
    device, load = Device(affine), loads.poisson(1200, 60_000, seed=1)
    wrong = [(rows, affine(rows) if rows <= 16 else 3 * affine(rows)) for rows in SWEEP]
    controller = Adaptive(Limits(64), seed=wrong)
    assert controller.plan.sizes[-1] == 16
    simulate(load, device, controller, 60_000)
    assert controller.plan.sizes[-1] > 16


def test_sizes_that_are_known_to_cost_far_more_are_not_tried():
    """A batch of 48 would stop everybody for as long as 160 of 8."""
    device, load = Device(lambda rows: 0.0066 + 0.026 * max(0, rows - 8)), loads.closed(64, 0.0001, 6000, seed=1)
    assert max(simulate(load, device, adaptive(device), 6000).batches) <= 9


def test_a_crowd_is_served_by_all_that_the_device_runs_though_the_plan_was_for_less():
    device, load = Device(affine, [1.0, 1.0, 1.0]), loads.poisson(3000, 3000, seed=1)
    controller = adaptive(device, slots=2, planner=lambda picture, settings, found: found(Settings(1, 8)))
    assert mean_latency(load, device, controller) < 0.05


def test_what_batches_cost_each_other_is_tried_more_and_more_seldom():
    """After 64 batches, 128 more, 256, 512 and 1,024; and then once in as many."""
    device, load = Device(affine, [1.0, 1.0, 2.0]), loads.closed(4, 0.0001, 11_000, seed=1)
    controller = adaptive(device, slots=2, planner=lambda picture, settings, found: found(Settings(1, 2)))
    flights, started = [], controller.started
    controller.started = lambda now, rows, running: (flights.append(running), started(now, rows, running))
    simulate(load, device, controller, 11_000)
    assert len(flights) == pytest.approx(5500, abs=20)
    assert (flights[:2048].count(2), flights[2048:].count(2)) == (5, 3)


def test_while_nothing_better_is_found_plannings_become_rare():
    asked = []

    def planner(picture, settings, found):
        asked.append(now)
        found(settings or Settings(1, 64))

    controller = Adaptive(Limits(64), seed=[(1, 0.001)], planner=planner)
    for step in range(200_000):
        now = step * 0.001
        if controller.listens:
            controller.arrived(now, 1, 0)
        controller.finished(now, 1, 0.001, 1.0, ())
    late = [time for time in asked if time > 100]
    assert len(asked) > 5
    assert len(late) <= 4


def test_a_planning_that_finds_nothing_leaves_the_plan_as_it_is():
    controller = Adaptive(Limits(64), seed=[(1, 0.001)], planner=lambda picture, settings, found: found(settings))
    before = controller.plan
    for step in range(1000):
        controller.arrived(step * 0.001, 1, 0)
    assert controller.plan == before


def test_a_plan_that_waits_is_looked_at_again_too():
    device, load = Device(affine), loads.closed(8, 0.0003, 3000, seed=1)
    late = []

    def planner(picture, settings, found):
        if len(answered) > 8000:
            late.append(settings.waits)
        plan_at_once(picture, settings, found)

    controller = adaptive(device, planner=planner)
    answered, finished = [], controller.finished
    controller.finished = lambda *args: (answered.extend(args[4]), finished(*args))
    simulate(load, device, controller, 20_000)
    assert True in late


@pytest.mark.parametrize("times", [5.0, 0.2])
def test_a_load_that_has_changed_is_planned_for_within_a_few_hundred_requests(times):
    """From what came since alone: what came before says nothing of it."""
    device, first = Device(affine), 240 if times < 1 else 48
    at, since, plannings = 3000 / first, 0, []

    def planner(picture, settings, found):
        opens = picture.load.opens
        plannings.append((since, (len(opens) - 1) / opens[-1]))
        plan_at_once(picture, settings, found)

    def counted(now, rows, client):
        nonlocal since
        since += now > at
        arrived(now, rows, client)

    controller = adaptive(device, planner=planner)
    arrived, controller.arrived = controller.arrived, counted
    simulate(loads.step(first, 6000, 1, at, times), device, controller, 6000)
    requests, rate = next(each for each in plannings if each[0])
    assert requests < 300
    assert rate == pytest.approx(first * times, rel=0.4)


def test_a_device_that_has_become_slower_keeps_its_batches_in_flight():
    """Two that do not slow each other down, nearly always both busy: the slowness is not the other's."""
    when = 6.0
    device = Device(affine, [1.0, 1.0, 1.0], drift=lambda now: 1.0 if now < when else 2.0)
    controller, load = adaptive(device, slots=2), loads.poisson(500, 6000, seed=1)
    simulate(load, device, controller, 6000)
    assert controller.curve.seconds(8) == pytest.approx(2 * affine(8), rel=0.1)
    assert controller.curve.factor(2) == pytest.approx(1.0, abs=0.1)
    assert controller.plan.in_flight == 2


class Later:
    """The same controller, on a clock that is ahead."""

    def __init__(self, controller, by):
        self.controller, self.by = controller, by

    def arrived(self, now, *args):
        self.controller.arrived(now + self.by, *args)

    def decide(self, now, rows, oldest, *args):
        verdict = self.controller.decide(now + self.by, rows, oldest + self.by, *args)
        return WaitUntil(verdict.time - self.by) if isinstance(verdict, WaitUntil) else verdict

    def started(self, now, *args):
        self.controller.started(now + self.by, *args)

    def finished(self, now, *args):
        self.controller.finished(now + self.by, *args)


@pytest.mark.parametrize(
    "plan", [Plan(1, tuple(range(65)), 48, gap_s=0.02), Plan(1, tuple(range(65)), 48, hold_s=0.05)]
)
@pytest.mark.parametrize("clients", [1, 4])
def test_where_company_does_not_pay_for_the_wait_nobody_is_waited_for_after_a_few_batches(plan, clients):
    """64 clients that paid to be waited for, and then a few of them, who all come and are waited beyond."""
    device = Device(affine)
    controller = adaptive(device, planner=lambda picture, settings, found: found(None))
    simulate(loads.closed(64, 0.0005, 6000, seed=1), device, controller, 6000)
    controller.follower.plan = plan
    few = simulate(loads.closed(clients, 0.0005, 200, seed=2), device, Later(controller, 1000.0), 20 * clients)
    waits = [finished - arrived - affine(1) for arrived, finished in zip(few.arrived, few.finished, strict=True)]
    assert max(waits[: 2 * clients]) > 0.01
    assert max(waits[5 * clients :]) < 2 * affine(clients)


def test_a_wait_that_pays_goes_on_however_many_come_in_vain():
    """One in five brings company, which saves eight times what a wait costs."""
    controller = adaptive(Device(affine), planner=lambda picture, settings, found: found(None))
    controller.follower.plan = Plan(1, tuple(range(65)), 2, gap_s=0.1 * affine(1))
    for batch in range(1000):
        now, rows = batch * 0.1, 1 + (batch % 5 == 0)
        controller.decide(now, 1, now, 0)
        controller.decide(now + 0.1 * affine(1), rows, now, 0)
    assert controller.plan.enough_rows == 2


def test_a_plan_that_is_looked_for_is_given_up_when_the_load_has_become_another_one_but_not_twice():
    asked = []
    controller = adaptive(Device(affine), planner=lambda picture, settings, found: asked.append((picture, found)))
    before, now = controller.plan, 0.0

    def come(requests, gap):
        nonlocal now
        for _ in range(requests):
            now += gap
            controller.arrived(now, 1, 0)
            controller.started(now, 1, 1)
            controller.finished(now, 1, affine(1), 1.0, ())

    come(400, 0.02)
    assert len(asked) == 1
    come(40, 0.1)  # a fifth of the load
    asked[0][1](Settings(1, 3))
    assert controller.plan == before
    come(400, 0.1)
    assert len(asked) == 2
    come(400, 0.02)
    assert len(asked) == 2
    asked[1][1](Settings(1, 4))
    assert controller.plan.sizes[5] == 4
