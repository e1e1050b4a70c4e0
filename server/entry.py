"""The console script `headrace`. What must happen before the half second of imports that the commands need."""

from __future__ import annotations

import sys

from server.pool.process_one import end_on_early_signals


def main() -> None:
    """Run the command line."""
    end_on_early_signals()
    if sys.argv[1:2] == ["health"]:
        _health()
    else:
        from server import cli  # noqa: PLC0415 - see above

        cli.main()


def _health() -> None:
    """The one command that is run again and again: without the others' imports."""
    import typer  # noqa: PLC0415

    from server.health import health  # noqa: PLC0415

    app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})
    app.command()(health)
    app(args=sys.argv[2:], prog_name="headrace health")
