from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher.decide import BUSY, Dispatch, Limits, Plan, Waiting, WaitUntil, decide

EIGHT = tuple(range(9))
AT_ONCE = Plan(1, EIGHT)
HOLDS = Plan(1, EIGHT, enough_rows=4, hold_s=0.005)
PATIENT = Plan(1, EIGHT, enough_rows=4, patience_s=0.002)
LISTENS = Plan(1, EIGHT, enough_rows=8, gap_s=0.001)
PROMISES = Plan(1, EIGHT, enough_rows=8, gap_s=0.001, longest_s=0.004)
CROWDED = Plan(1, EIGHT, most_in_flight=2, crowd_rows=16)
FREE = Limits(8)
DELAY_MS_5 = Limits(8, 0.005)

CASES = [
    (1.0, Waiting(1, 1.0), 0, AT_ONCE, FREE, Dispatch(1, "at_once"), "what is there goes at once if the plan says so"),
    (1.0, Waiting(1, 1.0), 1, AT_ONCE, FREE, BUSY, "no more batches are in flight than the plan wants"),
    (1.0, Waiting(15, 0.0), 1, CROWDED, FREE, BUSY, "a few do not make a crowd"),
    (1.0, Waiting(16, 0.0), 1, CROWDED, FREE, Dispatch(8, "at_once"), "a crowd gets another batch in flight"),
    (1.0, Waiting(16, 0.0), 2, CROWDED, FREE, BUSY, "a crowd gets no more than the device runs"),
    (1.0, Waiting(20, 0.0), 0, AT_ONCE, FREE, Dispatch(8, "at_once"), "a backlog is split"),
    (1.0, Waiting(3, 1.0), 0, HOLDS, FREE, WaitUntil(1.005), "the oldest is held"),
    (1.004, Waiting(3, 1.0), 0, HOLDS, FREE, WaitUntil(1.005), "the delay counts from the oldest arrival"),
    (1.005, Waiting(3, 1.0), 0, HOLDS, FREE, Dispatch(3, "nobody_expected"), "at the time it named itself it acts"),
    (1.001, Waiting(4, 1.0), 0, HOLDS, FREE, Dispatch(4, "enough"), "enough rows do not wait"),
    (1.001, Waiting(9, 1.0), 0, HOLDS, FREE, Dispatch(8, "full"), "a full batch does not wait"),
    (1.001, Waiting(3, 1.0, 1.0, 1.0), 0, PATIENT, FREE, WaitUntil(1.002), "who was just answered is awaited"),
    (1.001, Waiting(3, 1.0, 1.0, -inf), 0, PATIENT, FREE, Dispatch(3, "nobody_expected"), "all are back"),
    (1.003, Waiting(3, 1.0, 1.0, 1.0), 0, PATIENT, FREE, Dispatch(3, "gave_up"), "who stays away is given up"),
    (1.0005, Waiting(3, 0.9, 1.0), 0, LISTENS, FREE, WaitUntil(1.001), "in the gap the next is awaited"),
    (1.001, Waiting(3, 0.9, 1.0), 0, LISTENS, FREE, Dispatch(3, "nobody_expected"), "the burst is over"),
    (1.005, Waiting(3, 1.0, 1.005), 0, LISTENS, DELAY_MS_5, Dispatch(3, "delay_limit"), "the limit ends any wait"),
    (1.0046, Waiting(3, 1.0, 1.0046), 0, LISTENS, DELAY_MS_5, WaitUntil(1.005), "no wait goes past the limit"),
    (1.0036, Waiting(3, 1.0, 1.0036), 0, PROMISES, DELAY_MS_5, WaitUntil(1.004), "nor past what the plan allows"),
    (1.004, Waiting(3, 1.0, 1.0036), 0, PROMISES, FREE, Dispatch(3, "delay_limit"), "which ends any wait too"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("now", "waiting", "running", "plan", "limits", "verdict"), [case[:6] for case in CASES], ids=[c[6] for c in CASES]
)
def test_verdict(now, waiting, running, plan, limits, verdict):
    assert decide(now, waiting, running, plan, limits) == verdict


def test_small_groups_are_left_behind_where_the_plan_says_so():
    steps = Plan(1, (0, 1, 2, 2, 4, 4, 4, 4, 8))
    assert [decide(0.0, Waiting(rows, 0.0), 0, steps, FREE).rows for rows in range(1, 11)] == [
        1, 2, 2, 4, 4, 4, 4, 8, 8, 8
    ]  # fmt: skip


@given(
    st.sampled_from((AT_ONCE, HOLDS, PATIENT, LISTENS, CROWDED, Plan(2, (0, 1, 2, 2, 4, 5), 6, 0.001, 0.002, 0.003))),
    st.integers(1, 20),
    st.integers(0, 3),
    st.floats(0.0, 0.01),
    st.data(),
)
def test_a_plan_up_to_some_rows_decides_the_same_for_them(plan, most, running, age, data):
    waiting = Waiting(data.draw(st.integers(1, most)), 1.0, 1.0, data.draw(st.sampled_from((1.0, -inf))))
    asked = (1.0 + age, waiting, running)
    assert decide(*asked, plan.up_to(most), FREE) == decide(*asked, plan, FREE)


def test_plans_are_equal_up_to_the_rows_from_which_they_differ():
    larger, patient = Plan(1, tuple(range(17))), Plan(1, EIGHT, enough_rows=12, hold_s=0.005)
    assert larger.up_to(8) == AT_ONCE.up_to(8)
    assert larger.up_to(9) != AT_ONCE.up_to(9)
    assert HOLDS.up_to(3) == patient.up_to(3)
    assert HOLDS.up_to(4) != patient.up_to(4)
