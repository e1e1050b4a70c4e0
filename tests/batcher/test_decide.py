import pytest

from batcher.decide import Dispatch, Limits, Waiting, WaitUntil, decide

LIMITS = Limits(max_batch_rows=8, max_queue_delay_s=0.5)
AT_ONCE = Limits(max_batch_rows=8, max_queue_delay_s=0.0)


@pytest.mark.parametrize(
    ("now", "waiting", "limits", "expected", "why"),
    [
        (1.0, Waiting(1, 1.0), AT_ONCE, Dispatch(8), "without a delay a free slot takes what there is"),
        (1.0, Waiting(1, 1.0), LIMITS, WaitUntil(1.5), "company may come until the oldest has waited long enough"),
        (1.4, Waiting(7, 1.0), LIMITS, WaitUntil(1.5), "the delay counts from the oldest arrival, not from now"),
        (1.5, Waiting(7, 1.0), LIMITS, Dispatch(8), "the delay is over"),
        (1.0, Waiting(8, 1.0), LIMITS, Dispatch(8), "a full batch gains nothing by waiting"),
        (1.0, Waiting(80, 1.0), LIMITS, Dispatch(8), "a backlog is taken a full batch at a time"),
        (9.0, Waiting(0, 1.0), LIMITS, Dispatch(8), "requests without rows are answered too"),
    ],
)
def test_decision(now, waiting, limits, expected, why):
    assert decide(now, waiting, limits) == expected, why
