"""A load that is run again under a plan: quick, and exactly what the simulator finds."""

from hypothesis import given
from hypothesis import strategies as st

from batcher.decide import Limits, Plan
from batcher.follow import Follower
from batcher.rerun import Rerun
from batcher.simulate import Device, Load, simulate

SECONDS = st.sampled_from((0.0, 0.0003, 0.001, 0.0025, 0.004, 0.1))
"""Few, so that things happen at the same instant."""
LOADS = st.builds(
    lambda gaps, clients, thinks, rows, apart_s, keys: Load(
        [sum(gaps[: at + 1]) for at in range(len(gaps))], clients, thinks, rows, apart_s, keys=keys
    ),
    gaps=st.lists(SECONDS, max_size=60),
    clients=st.integers(0, 9),
    thinks=st.lists(SECONDS, min_size=1, max_size=7),
    rows=st.lists(st.integers(1, 11), min_size=1, max_size=5),
    apart_s=SECONDS,
    keys=st.lists(st.integers(0, 2), max_size=6),
)
PLANS = st.builds(
    Plan,
    in_flight=st.integers(1, 4),
    sizes=st.sampled_from((tuple(range(9)), (0, 1, 2, 2, 4), (0, 1, 2, 3, 3, 3, 4, 4, 5, 6, 7, 7, 8))),
    enough_rows=st.integers(1, 9),
    patience_s=SECONDS,
    gap_s=SECONDS,
    hold_s=SECONDS,
    silence_s=SECONDS.filter(bool),
    most_in_flight=st.integers(0, 5),
    crowd_rows=st.integers(0, 16),
)
DEVICES = st.builds(
    Device,
    st.sampled_from((lambda rows: 0.001, lambda rows: 0.001 + 0.0005 * rows)),
    st.sampled_from(((1.0, 1.0), (1.0, 1.0, 2.0, 3.0), (1.0, 1.0, 1.3, 1.9, 2.2, 2.2))),
    st.lists(st.sampled_from((0.9, 1.0, 1.2)), min_size=1, max_size=4),
)


@given(LOADS, DEVICES, PLANS, st.sampled_from((0.002, float("inf"))), st.integers(1, 40), st.integers(1, 40))
def test_a_run_that_goes_on_finds_what_the_simulator_finds(load, device, plan, delay_s, some, more):
    limits = Limits(8, delay_s)
    run = Rerun(load, device, limits).under(plan)
    for requests in (some, some + more):
        assert run(requests) == simulate(load, device, Follower(plan, limits), requests)


def test_runs_under_several_plans_do_not_know_of_each_other():
    load, device = Load([0.0, 0.001, 0.002, 0.003], 2, (0.001, 0.002)), Device(lambda rows: 0.001 * rows)
    again, first, second = Rerun(load, device, Limits(8)), Plan(1, tuple(range(9))), Plan(1, (0, 1))
    runs = [again.under(plan) for plan in (first, second)]
    for requests in (3, 6, 12):
        for run, plan in zip(runs, (first, second), strict=True):
            assert run(requests) == simulate(load, device, Follower(plan, Limits(8)), requests)
