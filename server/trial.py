"""After a new version is published and while the old one is kept: do too many of its runs fail?

Fed by the data plane, which calls `failed` when a run of the version fails or the model rejects its inputs there. What
is refused before, full queues and clients that leave do not count.
"""

from __future__ import annotations

from collections.abc import Callable

from headrace import cell
from headrace.config import SafeReload
from headrace.counters import ModelCounters


class Trial:
    """`object_to` is called at most once, with the reason."""

    def __init__(self, counters: ModelCounters, checks: SafeReload, object_to: Callable[[str], None]) -> None:
        self._counters = counters
        self._checks = checks
        self._object_to: Callable[[str], None] | None = object_to
        self._answered_before = 0
        self._failed = 0

    def begin(self) -> None:
        """It is published: what was counted before is another's, of the same version."""
        self._answered_before = self._counters.cells[cell.SUCCESSES]

    def failed(self) -> None:
        """A run has failed."""
        self._failed += 1
        if self._object_to is None:
            return
        answered = self._counters.cells[cell.SUCCESSES] - self._answered_before
        if reason := objection(answered, self._failed, self._checks):
            self._object_to(reason)
            self._object_to = None


def objection(answered: int, failed: int, checks: SafeReload) -> str:
    """Why the version should go, after so many requests; "" if it need not."""
    requests = answered + failed
    if requests < checks.min_requests or failed <= checks.max_error_rate * requests:
        return ""
    return (
        f"{failed} of its first {requests} requests have failed, {failed / requests:.0%}; "
        f"allowed are {checks.max_error_rate:.0%} (safe_reload.max_error_rate)"
    )
