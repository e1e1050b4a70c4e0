"""Recorded arrival times, as `headrace loadtest` and `headrace simulate` read them from a file."""

from __future__ import annotations

from itertools import pairwise
from math import inf, isfinite
from pathlib import Path

from headrace.errors import ConfigError


def read_trace(file: Path, option: str) -> list[float]:
    """Times in seconds, one a line and in order; what follows them on a line does not count, nor do lines with #.

    Raises ConfigError with a sentence that begins with `option`.
    """
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{option}: {file} cannot be read: {error}") from None
    times: list[float] = []
    for number, line in enumerate(lines, 1):
        first = line.replace(",", " ").split()[:1]
        if not first or first[0].startswith("#"):
            continue
        try:
            times.append(float(first[0]))
        except ValueError:
            times.append(inf)
        if not isfinite(times[-1]):
            raise ConfigError(f"{option}: {file}, line {number}: expected a time in seconds, found {first[0][:40]!r}")
    for before, after in pairwise(times):
        if after < before:
            raise ConfigError(f"{option}: {file}: expected times in order, found {after:g} after {before:g}")
    if len(times) < 2 or times[-1] == times[0]:
        raise ConfigError(f"{option}: {file}: expected at least two different times, found {len(set(times))}")
    return times
