"""What is seen while a load runs: a line that is written anew for each window. Nothing where nobody looks."""

from __future__ import annotations

from collections import deque

from hdrh.histogram import HdrHistogram
from rich.console import Console
from rich.live import Live as RichLive
from rich.text import Text

from loadtest.histogram import quantile_ms
from loadtest.tally import ClosedWindow

BARS = " ▁▂▃▄▅▆▇█"
SHOWN = 40


class Live:
    """A context manager; give `told` the windows of a run of `seconds`."""

    def __init__(self, load: str, seconds: float, console: Console | None = None) -> None:
        self._load = load
        self._seconds = seconds
        self._console = console or Console(stderr=True)
        self._view = RichLive(console=self._console, transient=True, auto_refresh=False)
        self._rates: deque[float] = deque(maxlen=SHOWN)
        self._bad = 0

    def __enter__(self) -> Live:
        if self._console.is_terminal:
            self._view.start()
            self._view.update(Text(f"{self._load}: warming up"), refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._view.stop()

    def told(self, window: ClosedWindow) -> None:
        """A window is over."""
        if self._console.is_terminal:
            self._view.update(Text(self.line(window), no_wrap=True), refresh=True)

    def line(self, window: ClosedWindow) -> str:
        """What is shown after this window."""
        rate = window.ok / (window.end_s - window.start_s)
        self._rates.append(rate)
        self._bad += window.bad
        seen = HdrHistogram.decode(window.histogram)
        left_s = max(0.0, self._seconds - window.end_s)
        return (
            f"{self._load}  {rate:,.0f}/s  in flight {window.in_flight:,}  p50 {quantile_ms(seen, 0.5):.2f} ms"
            f"  p99 {quantile_ms(seen, 0.99):.2f} ms  errors {self._bad:,}  {spark(self._rates)}  {left_s:.0f} s left"
        )


def spark(values: deque[float]) -> str:
    """A bar for each, the tallest for the largest."""
    most = max(values, default=0.0) or 1.0
    return "".join(BARS[round(value / most * (len(BARS) - 1))] for value in values)
