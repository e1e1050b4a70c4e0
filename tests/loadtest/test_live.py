"""What is shown while a load runs."""

import io

from rich.console import Console

from loadtest import histogram
from loadtest.live import Live
from loadtest.tally import ClosedWindow


def window(start, ok, bad=0, ms=1.0):
    seen = histogram.empty()
    histogram.record(seen, [ms / 1e3] * ok)
    return ClosedWindow(start, start + 1, ok, bad, seen.encode(), 7)


def shown(terminal, *windows):
    file = io.StringIO()
    with Live("2 connections", 10, Console(file=file, force_terminal=terminal, width=200)) as live:
        for each in windows:
            live.told(each)
    return file.getvalue()


def test_a_window_is_a_line_of_rate_latencies_errors_and_time_left():
    text = shown(True, window(0, 100), window(1, 200, bad=3))
    assert "2 connections  200/s  in flight 7  p50 1.00 ms  p99 1.00 ms  errors 3  ▄█  8 s left" in text


def test_nothing_is_written_where_nobody_looks():
    assert shown(False, window(0, 100)) == ""
