"""When a run may end, and that it does."""

import pytest
from asking import add
from live import serving
from loadtest_command import loadtest, run

from loadtest import histogram
from loadtest.settled import Numbers, interval, numbers, settled
from loadtest.tally import ClosedWindow


def steady(*values, per_s=100.0):
    return [Numbers(per_s, value, value, value) for value in values]


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([10] * 4, 0.05, False),  # too few, however alike
        ([10] * 5, 0.05, True),
        ([9, 11, 10, 9, 11], 0.05, False),  # +- 12 %
        ([9, 11, 10, 9, 11], 0.13, True),
        ([9, 11, 10, 9, 11] * 10, 0.05, True),  # more windows know it better
        ([1, 2, 3, 4, 5, 6, 7, 8], 0.2, False),  # it still moves
        ([0] * 5, 0.05, False),  # nobody answers
    ],
)
def test_numbers_are_known_once_their_interval_is_narrow(values, share, expected):
    assert settled(steady(*values), share, rates=False) is expected


def test_rates_count_only_where_the_server_makes_them():
    seen = [Numbers(rate, 10, 10, 10) for rate in (50, 150, 100, 60, 140)]
    assert settled(seen, 0.05, rates=False)
    assert not settled(seen, 0.05, rates=True)


def test_the_interval_is_students():
    assert interval([1, 2]) is None
    low, high = interval([9.0, 10.0, 11.0])
    assert (low, high) == pytest.approx((10 - 4.30 / 3**0.5, 10 + 4.30 / 3**0.5))


def test_a_window_is_read():
    seen = histogram.empty()
    histogram.record(seen, [0.001] * 99 + [0.1])
    found = numbers(ClosedWindow(2.0, 4.0, 100, 0, seen.encode()))
    assert found.per_s == 50
    assert found.mean_ms == pytest.approx(1.99, rel=0.01)
    assert found.p50_ms == pytest.approx(1, rel=0.001)
    assert numbers(ClosedWindow(0, 1, 0, 3, histogram.empty().encode())) == Numbers(0, 0, 0, 0)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    folder = tmp_path_factory.mktemp("settled") / "models"
    add(folder, 1)
    with serving(folder) as server:
        yield server.url


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_run_ends_once_its_numbers_are_known(url, tmp_path, workers):
    long = ("-d", "60", "--warm-up", "0", "--window", "0.1", "--workers", workers, "-c", "4")
    out = tmp_path / "run.json"
    code, said, _ = loadtest(url, *long, "--stable", "90%", "--out", out)
    assert code == 0
    assert "settled" in said
    assert '"settled": true' in out.read_text()
    assert '"seconds": 60' not in out.read_text()


def test_a_run_that_does_not_settle_says_so(url, tmp_path):
    found, said = run(tmp_path, url, "--stable", "1%")  # of half a second
    assert found["settled"] is False
    assert "NOT SETTLED" in said


@pytest.mark.parametrize("text", ["5", "x%", "0%", "-1%", "100%"])
def test_precisions_that_mean_nothing_are_a_sentence(url, text):
    code, _, said = loadtest(url, f"--stable={text}")
    assert code == 2
    assert said == f"headrace loadtest: --stable {text}: expected a share such as 5%\n"
