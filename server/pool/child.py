"""One process of the pool as the supervisor holds it: spawn, tell, listen, kill, reap.

Invariants: 1. The process starts as a standby; `boot` gives it a place. 2. `follow` ends when the process has been
reaped, never before: no zombie. 3. It leads its own process group, so Ctrl-C reaches the supervisor alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from headrace.memory import kills
from server.pool.channel import Boot, Channel, Drain, Message
from server.pool.exit_codes import ExitCode

OFFERED = 300
"""By so much of 1000 the system finds a child worse than the supervisor when it looks for whom to kill for memory."""
EXIT_WAIT_S = 5.0
"""A process whose channel has ended is killed after this long."""


class Child:
    """A running replica or engine. Made by `spawn` only."""

    def __init__(self, process: asyncio.subprocess.Process, channel: Channel) -> None:
        self._process = process
        self._channel = channel
        self._kills = kills()
        self.pid = process.pid

    @classmethod
    async def spawn(cls, module: str, directory: Path, what: str, listening: Sequence[socket.socket] = ()) -> Child:
        """`python -m module CONTROL_FD DIRECTORY WHAT LISTENING_FD...`, which then waits for `boot`. Raises OSError."""
        ours, theirs = socket.socketpair()
        inherited = [each.fileno() for each in listening]
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-P",  # a folder named "server" in the user's current directory must not be imported instead
                    *("-m", module, str(theirs.fileno()), str(directory), what, *map(str, inherited)),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(), *inherited),
                    process_group=0,
                )
            except OSError:
                ours.close()
                raise
        _offer(process.pid)
        return cls(process, await Channel.over(ours))

    def boot(self, boot: Boot) -> None:
        """Take this place. Once per child."""
        self._channel.send(boot)

    def tell(self, message: Message) -> None:
        """Anything that is neither the beginning nor the end."""
        self._channel.send(message)

    def drain(self) -> None:
        """Answer what was accepted, then end."""
        self._channel.send(Drain())

    def kill(self) -> None:
        """End now. Harmless if it has ended already."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def follow(self, said: Callable[[Message], None]) -> int:
        """Pass on every message until the process has ended; its exit code (negative: the signal)."""
        async for message in self._channel.messages():
            said(message)
        try:
            async with asyncio.timeout(EXIT_WAIT_S):
                code = await self._process.wait()
        except TimeoutError:
            self.kill()
            code = await self._process.wait()
        self._channel.close()
        return code

    def how_it_ended(self, code: int) -> str:
        """An exit code in words. After `follow`."""
        return how_it_ended(code, kills() - self._kills)


def _offer(pid: int) -> None:
    """Should memory run out, this process rather than the supervisor, which starts another one (proc(5))."""
    score = Path(f"/proc/{pid}/oom_score_adj")
    with contextlib.suppress(OSError, ValueError):  # there is none, or the process has ended
        score.write_text(str(min(1000, int(score.read_text()) + OFFERED)))


def how_it_ended(code: int, kills: int = 0) -> str:
    """An exit code in words. `kills`: processes of its control group that ran out of memory while it lived."""
    if code == -signal.SIGKILL and kills > 0:
        return (
            "killed by SIGKILL, most likely by the kernel at the memory limit of the control group:"
            f" {kills} killed there since it started"
        )
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    try:
        return f"exit code {code} ({ExitCode(code).name})"
    except ValueError:
        return f"exit code {code}"
