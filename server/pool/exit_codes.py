"""How the processes of the pool end: a contract with whoever started them, systemd and Kubernetes included."""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    """1 and 2 are left to Python (a traceback) and to the command line (wrong usage)."""

    DRAINED = 0
    """Every accepted request was answered."""
    BOOT_FAILED = 3
    """Cannot serve as configured; trying again will not help. From a replica and from the supervisor."""
    GAVE_UP = 4
    """Supervisor: a replica died again and again before it was ready."""
    DRAIN_FAILED = 5
    """Accepted requests may be unanswered: `drain_grace_s` passed, or a replica died while it drained."""
    STOPPED_AT_ONCE = 6
    """Supervisor: a second signal came while it drained."""
    PARENT_GONE = 7
    """Replica: the supervisor is no more."""
