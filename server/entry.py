"""The console script `headrace`. What must happen before the half second of imports that the commands need."""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

_ENDS = (signal.SIGTERM, signal.SIGINT)


def main() -> None:
    """Run the command line."""
    end_on_early_signals()
    if sys.argv[1:2] == ["health"]:
        _health()
    else:
        from server import cli  # noqa: PLC0415 - see above

        cli.main()


def end_on_early_signals() -> None:
    """Until the loop handles them: nothing has been accepted yet, so SIGTERM and SIGINT may end the process at once.

    The kernel drops a signal for process 1 that it has no handler for; and who started this one may have blocked them,
    so that none is dropped before.
    """
    if os.getpid() == 1:
        for number in _ENDS:
            signal.signal(number, _end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDS)


def _end(number: int, _: object) -> NoReturn:
    os._exit(0)


def _health() -> None:
    """The one command that is run again and again: without the others' imports."""
    import typer  # noqa: PLC0415

    from server.health import health  # noqa: PLC0415

    app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})
    app.command()(health)
    app(args=sys.argv[2:], prog_name="headrace health")
