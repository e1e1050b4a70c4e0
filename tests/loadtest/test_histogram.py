"""Latencies recorded all at once."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from loadtest import histogram

LATENCIES = st.lists(st.floats(0, 1e4) | st.floats(0, 0.01))


@given(LATENCIES, LATENCIES)
def test_many_at_once_are_as_one_after_the_other(first, second):
    at_once, one_by_one = histogram.empty(), histogram.empty()
    for part in (first, second):
        histogram.record(at_once, part)
        for value in part:
            one_by_one.record_value(int(np.clip(np.rint(value * 1e6), 1, histogram.HIGHEST_US)))
    assert at_once.equals(one_by_one)
    assert at_once.encode() == one_by_one.encode()
