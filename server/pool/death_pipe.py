"""How a replica learns that its supervisor is gone, however that happened: the control socket reports a hang-up.

A thread of its own waits for it, because the event loop may be late: it stands still while the replica imports, and a
model that hangs on the loop must not become a process without a parent that holds ports and devices for ever. It never
runs else. prctl's death signal lost: Linux only, and it follows the thread that spawned, not the process.
"""

from __future__ import annotations

import os
import select
import threading
from pathlib import Path
from typing import NoReturn

from server.pool.directory import remove
from server.pool.exit_codes import ExitCode


def end_with_parent(control_fd: int, directory: Path) -> None:
    """From now on this process ends when the other end of its control socket is closed (see `end_as_orphan`)."""
    threading.Thread(target=_watch, args=(control_fd, directory), name="death pipe", daemon=True).start()


def _watch(control_fd: int, directory: Path) -> None:
    poll = select.poll()
    poll.register(control_fd, 0)  # a hang-up is reported unasked, data is not
    poll.poll()
    end_as_orphan(directory)


def end_as_orphan(directory: Path) -> NoReturn:
    """End at once and remove the pool's directory, which the supervisor can no longer do."""
    remove(directory)
    os._exit(ExitCode.PARENT_GONE)
