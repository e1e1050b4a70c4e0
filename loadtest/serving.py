"""A Headrace of one's own, for as long as it is measured: a process that serves a folder on free ports."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PATIENCE_S = 120.0
LOOK_S = 0.05


class NotServed(Exception):
    """It did not come up, and this is what it said last."""


@contextlib.contextmanager
def serving(repository: Path, replicas: int) -> Iterator[str]:
    """Its URL. Raises NotServed."""
    line = [sys.executable, "-m", "server", "serve", str(repository), "--replicas", str(replicas)]
    line += ["--host", "127.0.0.1", "--http-port", "0", "--grpc-port", "0"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(line, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield f"http://127.0.0.1:{_port(process, log.fileno())}"
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(PATIENCE_S)
            finally:
                process.kill()


def _port(process: subprocess.Popen[bytes], log: int) -> str:
    end = time.monotonic() + PATIENCE_S
    while True:
        said = Path(f"/dev/fd/{log}").read_text(errors="replace")
        found = re.search(r"REST on http://127\.0\.0\.1:(\d+)", said)
        if found:
            return found[1]
        if process.poll() is not None or time.monotonic() > end:
            raise NotServed("\n".join(said.strip().splitlines()[-3:]) or "it said nothing")
        time.sleep(LOOK_S)
