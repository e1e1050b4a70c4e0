"""What became of the requests, by windows of time: streaming, so that memory does not grow with the run.

Every request that is sent is counted once: sent = ok + wrong + failed + timed out + unfinished. Latencies are those of
right answers, from the time at which the request should have been sent. What was to be sent during the warm-up counts
nowhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any, TypeAlias

from hdrh.histogram import HdrHistogram

from loadtest import histogram


@dataclass(slots=True)
class Window:
    """One stretch of the run, by when the answers came; seconds, latencies in seconds."""

    start_s: float
    end_s: float
    ok: int = 0
    bad: int = 0
    latencies: list[float] = field(default_factory=list)

    def close(self, whole: HdrHistogram) -> ClosedWindow:
        """As numbers; the latencies go into `whole`."""
        own = histogram.empty()
        histogram.record(own, self.latencies)
        whole.add(own)
        return ClosedWindow(self.start_s, self.end_s, self.ok, self.bad, own.encode())


@dataclass(frozen=True, slots=True)
class ClosedWindow:
    """A window once it is over. Its latencies are an encoded histogram: a few kilobytes, where one has hundreds."""

    start_s: float
    end_s: float
    ok: int
    bad: int
    histogram: bytes

    def plus(self, other: ClosedWindow) -> ClosedWindow:
        """With what another process saw at the same time."""
        both = HdrHistogram.decode(self.histogram)
        both.add(HdrHistogram.decode(other.histogram))
        return replace(self, ok=self.ok + other.ok, bad=self.bad + other.bad, histogram=both.encode())


Told: TypeAlias = Callable[[ClosedWindow], None]


class Tally:
    """Counts. Times are on one clock; `began` is the end of the warm-up."""

    def __init__(self, began: float, window_s: float, told: Told | None = None) -> None:
        self.sent = self.ok = self.wrong = self.failed = self.timed_out = 0
        self.kinds: Counter[str] = Counter()
        """What was wrong or failed, by what it was."""
        self.bytes_in = self.bytes_out = 0
        self.histogram = histogram.empty()
        self.windows: list[ClosedWindow] = []
        self.seconds = 0.0
        """From the end of the warm-up until nothing more was sent."""
        self.lags: HdrHistogram = histogram.empty()
        """How much later than intended requests were sent though a connection was free."""
        self._told = told
        self._began = began
        self._window_s = window_s
        self._window = Window(0.0, window_s)
        self._window_ends = began + window_s
        self._lags: list[float] = []

    def __getstate__(self) -> dict[str, Any]:
        """For another process: histograms as their bytes."""
        encoded = {name: getattr(self, name).encode() for name in ("histogram", "lags")}
        return self.__dict__ | encoded | {"_told": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """See `__getstate__`."""
        self.__dict__ |= state | {name: HdrHistogram.decode(state[name]) for name in ("histogram", "lags")}

    @property
    def unfinished(self) -> int:
        """Sent and neither answered nor given up."""
        return self.sent - self.ok - self.wrong - self.failed - self.timed_out

    def was_sent(self, size: int, lag_s: float) -> None:
        """A request of so many bytes, so much later than intended."""
        self.sent += 1
        self.bytes_out += size
        self._lags.append(lag_s)

    def was_right(self, now: float, latency_s: float) -> None:
        """An answer."""
        self.ok += 1
        window = self._at(now)
        window.ok += 1
        window.latencies.append(latency_s)

    def was_wrong(self, now: float, what: str) -> None:
        """An answer with other values."""
        self.wrong += 1
        self._bad(now, what)

    def has_failed(self, now: float, what: str) -> None:
        """No answer but an error."""
        self.failed += 1
        self._bad(now, what)

    def ran_out(self, now: float) -> None:
        """Nothing came in time."""
        self.timed_out += 1
        self._bad(now, "timed out")

    def passed(self, now: float) -> None:
        """Time has passed, whether or not anything has happened."""
        self._at(now)

    def close(self, now: float, until: float) -> None:
        """The run is over, and nothing was sent from `until` on."""
        self.seconds = max(0.0, until - self._began)
        window = self._at(now)
        if window.ok or window.bad:
            self._close_window()

    def _bad(self, now: float, what: str) -> None:
        self.kinds[what] += 1
        self._at(now).bad += 1

    def _at(self, now: float) -> Window:
        while now >= self._window_ends:
            self._close_window()
        return self._window

    def _close_window(self) -> None:
        self.windows.append(self._window.close(self.histogram))
        if self._told is not None:
            self._told(self.windows[-1])
        histogram.record(self.lags, self._lags)
        self._lags.clear()
        self._window = Window(self._window.end_s, self._window.end_s + self._window_s)
        self._window_ends += self._window_s

    def add(self, other: Tally) -> None:
        """With what another process did at the same time. Both are closed."""
        self.seconds = max(self.seconds, other.seconds)
        for count in ("sent", "ok", "wrong", "failed", "timed_out", "bytes_in", "bytes_out"):
            setattr(self, count, getattr(self, count) + getattr(other, count))
        self.kinds.update(other.kinds)
        self.histogram.add(other.histogram)
        self.lags.add(other.lags)
        pairs = zip_longest(self.windows, other.windows)
        self.windows = [one.plus(two) if one and two else one or two for one, two in pairs]
