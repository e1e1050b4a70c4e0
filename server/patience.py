"""How long a client waits for an answer, as both protocols say it, and when it may ask again after a refusal.

The header `headrace-timeout-ms` (gRPC: metadata) is a timeout as the V2 parameter `timeout` (microseconds) is one;
where there are several, the gRPC deadline among them, the soonest counts. A refusal for want of time or room has the
header `retry-after`, whole seconds, which HTTP clients know, and `headrace-retry-after-ms` beside it (gRPC: trailing
metadata).
"""

from __future__ import annotations

import re
from math import ceil

from headrace.errors import BadRequest, Overloaded

TIMEOUT = "headrace-timeout-ms"
RETRY = "retry-after"
RETRY_MS = "headrace-retry-after-ms"

_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?", re.ASCII)


def timeout_us(value: str) -> int:
    """The timeout in the header's value, in microseconds, at least 1. Raises BadRequest."""
    found = value.strip()
    if _NUMBER.fullmatch(found) and float(found) > 0:
        return ceil(float(found) * 1e3)
    raise BadRequest(f"{TIMEOUT} is a number of milliseconds above 0, found {value[:40]!r}")


def sooner(one_us: int, other_us: int) -> int:
    """The shorter of two timeouts, of which 0 means none."""
    return min(one_us, other_us) if one_us and other_us else one_us or other_us


def again(error: BaseException) -> tuple[tuple[str, str], ...]:
    """The headers that say when to try again; none unless the server was overloaded."""
    if not isinstance(error, Overloaded):
        return ()
    return (RETRY, str(max(1, ceil(error.retry_after_s)))), (RETRY_MS, str(retry_ms(error)))


def retry_ms(error: Overloaded) -> int:
    """When to try again, in milliseconds, at least 1."""
    return max(1, ceil(error.retry_after_s * 1e3))
