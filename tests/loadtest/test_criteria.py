import pytest

from loadtest.criteria import parse

FOUND = {
    "per_s": 1990.0,
    "requests": {"sent": 2000, "ok": 1995, "wrong": 1, "failed": 3, "timed_out": 1, "unfinished": 0},
    "latency_ms": {"mean": 1.5, "p50": 1.0, "p90": 2, "p95": 3, "p99": 49.0, "p99.9": 70.0, "max": 80.0},
}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("p99<50ms", [True]),
        ("p99<49ms", [False]),
        ("p99<=49000us", [True]),
        ("p99.9 < 0.07s", [False]),
        ("errors==0", [False]),
        ("errors=5", [True]),
        ("errors<0.3%", [True]),
        ("wrong<1", [False]),
        ("per_s>=1990", [True]),
        ("p50<2ms,errors<1%,mean>2ms", [True, True, False]),
    ],
)
def test_a_criterion_holds_or_not(text, holds):
    assert [each.holds(FOUND) for each in parse(text)] == holds


def test_the_verdict_says_what_was_found():
    (criterion,) = parse("p99<20ms")
    assert criterion.verdict(FOUND) == "p99<20ms: DOES NOT HOLD, found 49ms"


def test_nothing_is_quick_where_nothing_was_answered():
    nothing = {**FOUND, "requests": {**FOUND["requests"], "ok": 0}, "latency_ms": {"p99": 0.0}}
    assert not parse("p99<1ms")[0].holds(nothing)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("p99", "expected something like"),
        ("p98<5ms", "'p98' is not one of mean, p50"),
        ("p99<5", "p99 needs a unit"),
        ("errors<5ms", "a number or a share"),
        ("per_s>5%", "without a unit"),
        ("p99<5ms,,", "criterion ''"),
    ],
)
def test_what_is_no_criterion_is_said(text, said):
    with pytest.raises(ValueError, match=said):
        parse(text)
