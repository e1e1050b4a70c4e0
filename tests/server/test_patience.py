"""Timeouts as clients write them, and when they may ask again."""

import pytest

from headrace.errors import DeadlineExceeded, OutOfMemory, QueueFull, WouldBeLate
from server.patience import again, sooner, timeout_us


@pytest.mark.parametrize(
    ("value", "expected"),
    [("250", 250_000), ("0.5", 500), (" 12.25 ", 12_250), ("0.0001", 1), ("999999999999", 999_999_999_999_000)],
)
def test_a_timeout_is_read_in_milliseconds(value, expected):
    assert timeout_us(value) == expected


@pytest.mark.parametrize(
    "value", ["", "0", "0.0", "-1", "+1", "1e3", "inf", "nan", "1,5", ".5", "5.", "1 2", "²", "1ms"]
)
def test_what_is_no_time_is_refused_by_name(value):
    with pytest.raises(Exception, match=r"^headrace-timeout-ms is a number of milliseconds above 0, found '"):
        timeout_us(value)


@pytest.mark.parametrize(("one", "other", "expected"), [(0, 0, 0), (5, 0, 5), (0, 5, 5), (5, 7, 5), (7, 5, 5)])
def test_the_sooner_of_two_timeouts_counts_and_none_is_none(one, other, expected):
    assert sooner(one, other) == expected


@pytest.mark.parametrize(
    ("seconds", "whole", "exact"), [(0.0, "1", "1"), (0.0421, "1", "43"), (1.0, "1", "1000"), (1.0001, "2", "1001")]
)
@pytest.mark.parametrize("kind", [QueueFull, WouldBeLate])
def test_whole_seconds_are_rounded_up_and_the_milliseconds_stand_beside_them(kind, seconds, whole, exact):
    assert again(kind("why", seconds)) == (("retry-after", whole), ("headrace-retry-after-ms", exact))


@pytest.mark.parametrize("error", [DeadlineExceeded("too late"), OutOfMemory("none"), ValueError("a bug")])
def test_nobody_is_told_to_try_again_for_any_other_reason(error):
    assert again(error) == ()
