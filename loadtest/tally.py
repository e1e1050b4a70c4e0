"""What became of the requests, by windows of time: streaming, so that memory does not grow with the run.

Every request that is sent is counted once: sent = ok + wrong + failed + timed out + unfinished. Latencies are those of
right answers, from the time at which the request should have been sent. What was to be sent during the warm-up counts
nowhere.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, TypeAlias

from hdrh.histogram import HdrHistogram

from loadtest import histogram


@dataclass(slots=True)
class Window:
    """One stretch of the run, by when the answers came; seconds, latencies in seconds."""

    start_s: float
    end_s: float
    bad: int = 0
    latencies: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Of right answers, by model."""

    @property
    def ok(self) -> int:
        """Right answers."""
        return sum(map(len, self.latencies.values()))

    def close(self, models: defaultdict[str, Share], in_flight: int) -> ClosedWindow:
        """As numbers; the latencies go into `models`."""
        own = histogram.empty()
        for model, latencies in self.latencies.items():
            seen = histogram.empty()
            histogram.record(seen, latencies)
            models[model].histogram.add(seen)
            own.add(seen)
        return ClosedWindow(self.start_s, self.end_s, self.ok, self.bad, own.encode(), in_flight)


@dataclass(frozen=True, slots=True)
class ClosedWindow:
    """A window once it is over. Its latencies are an encoded histogram: a few kilobytes, where one has hundreds."""

    start_s: float
    end_s: float
    ok: int
    bad: int
    histogram: bytes
    in_flight: int = 0
    """Sent and not yet answered at its end."""

    def plus(self, other: ClosedWindow) -> ClosedWindow:
        """With what another process saw at the same time."""
        both = HdrHistogram.decode(self.histogram)
        both.add(HdrHistogram.decode(other.histogram))
        return ClosedWindow(
            self.start_s,
            self.end_s,
            self.ok + other.ok,
            self.bad + other.bad,
            both.encode(),
            self.in_flight + other.in_flight,
        )


Told: TypeAlias = Callable[[ClosedWindow], object]
"""Hears of a window once it is over."""


class Share:
    """What became of one model's requests."""

    def __init__(self) -> None:
        self.bad = 0
        self.histogram: HdrHistogram = histogram.empty()

    def __getstate__(self) -> tuple[int, bytes]:
        """For another process: the histogram as its bytes."""
        return self.bad, self.histogram.encode()

    def __setstate__(self, state: tuple[int, bytes]) -> None:
        """See `__getstate__`."""
        self.bad, self.histogram = state[0], HdrHistogram.decode(state[1])

    def add(self, other: Share) -> None:
        """With what another process did."""
        self.bad += other.bad
        self.histogram.add(other.histogram)


class Tally:
    """Counts. Times are on one clock; `began` is the end of the warm-up."""

    def __init__(self, began: float, window_s: float, told: Told | None = None) -> None:
        self.sent = self.ok = self.wrong = self.failed = self.timed_out = 0
        self.kinds: Counter[str] = Counter()
        """What was wrong or failed, by what it was."""
        self.bytes_in = self.bytes_out = 0
        self.models: defaultdict[str, Share] = defaultdict(Share)
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
        return self.__dict__ | {"lags": self.lags.encode(), "_told": None, "_window": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """See `__getstate__`."""
        self.__dict__ |= state | {"lags": HdrHistogram.decode(state["lags"])}

    @property
    def histogram(self) -> HdrHistogram:
        """The latencies of all models."""
        whole = histogram.empty()
        for share in self.models.values():
            whole.add(share.histogram)
        return whole

    @property
    def unfinished(self) -> int:
        """Sent and neither answered nor given up."""
        return self.sent - self.ok - self.wrong - self.failed - self.timed_out

    def was_sent(self, size: int, lag_s: float) -> None:
        """A request of so many bytes, so much later than intended."""
        self.sent += 1
        self.bytes_out += size
        self._lags.append(lag_s)

    def was_right(self, now: float, model: str, latency_s: float) -> None:
        """An answer."""
        self.ok += 1
        self._at(now).latencies[model].append(latency_s)

    def was_wrong(self, now: float, model: str, what: str) -> None:
        """An answer with other values."""
        self.wrong += 1
        self._bad(now, model, what)

    def has_failed(self, now: float, model: str, what: str) -> None:
        """No answer but an error."""
        self.failed += 1
        self._bad(now, model, what)

    def ran_out(self, now: float, model: str) -> None:
        """Nothing came in time. A request that never had a connection is no model's: ""."""
        self.timed_out += 1
        self._bad(now, model, "timed out")

    def passed(self, now: float) -> None:
        """Time has passed, whether or not anything has happened."""
        self._at(now)

    def close(self, now: float, until: float) -> None:
        """The run is over, and nothing was sent from `until` on."""
        self.seconds = max(0.0, until - self._began)
        window = self._at(now)
        if window.ok or window.bad:
            self._close_window()

    def _bad(self, now: float, model: str, what: str) -> None:
        self.kinds[what] += 1
        self.models[model].bad += 1
        self._at(now).bad += 1

    def _at(self, now: float) -> Window:
        while now >= self._window_ends:
            self._close_window()
        return self._window

    def _close_window(self) -> None:
        self.windows.append(self._window.close(self.models, self.unfinished))
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
        for model, share in other.models.items():
            self.models[model].add(share)
        self.lags.add(other.lags)
        pairs = zip_longest(self.windows, other.windows)
        self.windows = [one.plus(two) if one and two else one or two for one, two in pairs]
