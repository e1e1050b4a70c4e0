"""`headrace health`: is the server ready? For HEALTHCHECK and other probes that run a command where no curl is.

Asks over HTTP as a client does. Exit codes are those that container engines know: 0 healthy, 1 not, 2 wrong usage.
Imports next to nothing: a probe that takes a second of CPU every few seconds is a bad neighbour.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Annotated
from urllib.parse import urlsplit

import typer

UNHEALTHY = 1
_OK = 200
_ANY = ("", "0.0.0.0", "::")


def health(
    url: Annotated[
        str, typer.Option(envvar="HEADRACE_URL", help="REST address; not set: this machine's, by HEADRACE_HTTP_PORT.")
    ] = "",
    live: Annotated[bool, typer.Option("--live", help="Ask only whether the process answers, not if it is ready.")] = (
        False
    ),
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="Longest wait for the answer.", min=0.001)] = 5.0,
) -> None:
    """Exit with 0 if the server is ready, else say why not and exit with 1."""
    sentence = ill(url or here(os.environ), "live" if live else "ready", timeout)
    if sentence:
        typer.echo(f"headrace: {sentence}", err=True)
        sys.exit(UNHEALTHY)


def here(environment: Mapping[str, str]) -> str:
    """The address of a server on this machine that was started with this environment."""
    host = environment.get("HEADRACE_HOST", "")
    host = "localhost" if host in _ANY else f"[{host}]" if ":" in host else host
    return f"http://{host}:{environment.get('HEADRACE_HTTP_PORT') or 8000}"


def ill(url: str, state: str, timeout: float) -> str:
    """Why the server is not `state` (live or ready); "" if it is."""
    if "//" not in url:
        url = f"http://{url}"
    address = urlsplit(url)
    kind = HTTPSConnection if address.scheme == "https" else HTTPConnection
    try:
        connection = kind(address.netloc, timeout=timeout)
        connection.request("GET", f"{address.path.rstrip('/')}/v2/health/{state}")
        answer = connection.getresponse()
        connection.close()
    except (OSError, HTTPException, ValueError) as error:
        return f"no server answers at {url}: {error}"
    return "" if answer.status == _OK else f"{url} is not {state}: HTTP status {answer.status}"
