"""The command line over a running server: `headrace models list | load | unload | reload | wait | batcher`.

A client of the V2 repository extension, so it works from anywhere and with other servers that speak it. Exit codes: 0
what was asked is so, 1 the server refused or the time was up, 2 no server answers at the address, or wrong usage.
"""

from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, NoReturn
from urllib.parse import quote

import httpx
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from headrace.sharding import in_words
from model_repo.found import ASLEEP
from server.portrait import portrait

REFUSED, UNREACHABLE = 1, 2
POLL_S = 0.2
_STYLES = {"READY": "green", "LOADING": "yellow", "UNLOADING": "yellow", "UNAVAILABLE": "red"}

app = typer.Typer(no_args_is_help=True, help="Look at and change which models a running server has loaded.")

Url = Annotated[str, typer.Option("--url", envvar="HEADRACE_URL", help="REST address of the server.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table or a sentence.")]
Timeout = Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="Longest wait for the server.")]
Names = Annotated[list[str], typer.Argument(metavar="NAME", help="Models.")]
LOCAL = "http://localhost:8000"


@app.command("list")
def list_(url: Url = LOCAL, as_json: AsJson = False, timeout: Timeout = 10.0) -> None:
    """Every model version in the repository, its state, what it takes of memory, and why it is not ready."""
    with _server(url, timeout) as server:
        rows = _index(server)
        _show(rows, as_json, {} if as_json else _memory(server))


@app.command()
def load(
    names: Names,
    url: Url = LOCAL,
    config: Annotated[
        Path | None, typer.Option(help="Triton's ModelConfig as JSON, instead of the model's configuration file.")
    ] = None,
    file: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH=LOCAL", help="A local file to serve as PATH (1/model.onnx); needs --config."),
    ] = None,
    as_json: AsJson = False,
    timeout: Timeout = 600.0,
) -> None:
    """Load models, or load them again as they are now; returns when every replica serves them."""
    parameters: dict[str, str] = {}
    if config is not None:
        parameters["config"] = _content(config).decode("utf-8", "replace")
    for item in file or ():
        path, _, local = item.partition("=")
        if not local:
            raise typer.BadParameter(f"expected PATH=LOCAL, such as 1/model.onnx=./model.onnx, found {item!r}")
        parameters[f"file:{path}"] = base64.b64encode(_content(Path(local))).decode()
    _each(names, "load", parameters, url, timeout, as_json)


@app.command()
def reload(names: Names, url: Url = LOCAL, as_json: AsJson = False, timeout: Timeout = 600.0) -> None:
    """Load models again as they are now, also if no file has changed. No request fails meanwhile."""
    _each(names, "load", {}, url, timeout, as_json)


@app.command()
def unload(names: Names, url: Url = LOCAL, as_json: AsJson = False, timeout: Timeout = 600.0) -> None:
    """Unload models; returns when no replica holds them any more."""
    _each(names, "unload", {}, url, timeout, as_json)


@app.command()
def wait(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]", help="Models; none: all that load.")] = None,
    url: Url = LOCAL,
    as_json: AsJson = False,
    timeout: Timeout = 60.0,
) -> None:
    """Wait until the server is ready and the models are, or can be woken; says what is missing when the time is up."""
    end = time.monotonic() + timeout
    missing = "no server has answered"
    rows: list[dict[str, Any]] = []
    while time.monotonic() < end:
        try:
            with httpx.Client(base_url=url, timeout=max(0.1, end - time.monotonic())) as server:
                ready = server.get("/v2/health/ready").status_code == httpx.codes.OK
                rows = _index(server)
        except httpx.TransportError as error:
            missing = f"no server answers at {url}: {error}"
        else:
            missing = _missing(rows, names or (), ready)
            if not missing:
                _show(rows, as_json)
                return
        time.sleep(POLL_S)
    _fail(f"not ready after {timeout:g} s: {missing}", REFUSED)


@app.command()
def batcher(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model, or NAME/VERSION.")],
    url: Url = LOCAL,
    as_json: AsJson = False,
    timeout: Timeout = 10.0,
) -> None:
    """What the batcher of one replica has learnt and does, and why. JSON has the recent requests as well."""
    model, _, version = name.partition("/")
    path = f"/v2/models/{quote(model, safe='')}" + (f"/versions/{quote(version, safe='')}" if version else "")
    answer = ask(url, f"{path}/batcher", {"recording": "true"} if as_json else {}, timeout)
    if as_json:
        typer.echo(answer.text)
        return
    console = Console()
    for part in portrait(answer.json()):
        console.print(part, highlight=False, soft_wrap=isinstance(part, str), markup=False)


def ask(url: str, path: str, params: Mapping[str, str], timeout: float = 10.0) -> httpx.Response:
    """What the server answers. Ends the command with a sentence if it refuses, or if none is there."""
    with _server(url, timeout) as server:
        answer = server.get(path, params=params)
    if not answer.is_success:
        _fail(_why(answer), REFUSED)
    return answer


def _missing(rows: Sequence[dict[str, Any]], names: Sequence[str], ready: bool) -> str:
    """What is not as it is waited for; "" if nothing is."""
    if not ready:
        return "the server is starting"
    loading = {row["name"] for row in rows if row.get("state") == "LOADING"}
    there = {row["name"] for row in rows if row.get("state") == "READY" or row.get("reason") == ASLEEP} - loading
    states = {row["name"]: row.get("reason") or row.get("state", "") for row in rows}
    unready = [name for name in names if name not in there] if names else sorted(loading)
    return ", ".join(f"{name} ({states.get(name, 'not in the repository')})" for name in unready)


def _each(names: Sequence[str], verb: str, parameters: dict[str, str], url: str, timeout: float, as_json: bool) -> None:
    """Ask for one model after the other; all of them, also if one is refused."""
    reasons = {}
    with _server(url, timeout) as server:
        for name in names:
            answer = server.post(
                f"/v2/repository/models/{quote(name, safe='')}/{verb}", json={"parameters": parameters}
            )
            reasons[name] = "" if answer.is_success else _why(answer)
    if as_json:
        typer.echo(json.dumps([{"name": name, "ok": not reason, "error": reason} for name, reason in reasons.items()]))
    for name, reason in reasons.items():
        if reason:
            typer.echo(f"headrace: {name}: {reason}", err=True)
        elif not as_json:
            typer.echo(f"{name} is {verb}ed")
    if any(reasons.values()):
        sys.exit(REFUSED)


def _index(server: httpx.Client) -> list[dict[str, Any]]:
    answer = server.post("/v2/repository/index")
    if not answer.is_success:
        _fail(_why(answer), REFUSED)
    rows: list[dict[str, Any]] = answer.json()
    return rows


def _memory(server: httpx.Client) -> dict[tuple[str, str], str]:
    """By name and version; nothing of a server that does not say it."""
    answer = server.get("/v2/models/stats")
    stats = answer.json().get("model_stats", ()) if answer.is_success else ()
    return {(row["name"], row["version"]): _places(row.get("memory_usage", ())) for row in stats}


def _places(usage: Iterable[Mapping[str, Any]]) -> str:
    return ", ".join(
        in_words(int(place["byte_size"])) + ("" if place["type"] == "CPU" else f" on {place['type']} {place['id']}")
        for place in usage
    )


def _show(
    rows: Sequence[dict[str, Any]], as_json: bool, memory: Mapping[tuple[str, str], str] = MappingProxyType({})
) -> None:
    if as_json:
        typer.echo(json.dumps(rows))
        return
    labelled = any(row.get("labels") for row in rows)  # an addition of ours that other servers do not have
    measured = any(memory.values())
    optional = [*(["memory"] if measured else []), *(["labels"] if labelled else [])]
    table = Table("model", "version", "state", *optional, "reason")
    for row in rows:
        state = row.get("state", "")
        name, version, reason = row["name"], row.get("version", ""), row.get("reason", "")
        more = [Text(memory.get((name, version), ""))] if measured else []
        more += [Text(", ".join(row.get("labels", ())))] if labelled else []
        table.add_row(Text(name), version, Text(state, _STYLES.get(state, "")), *more, Text(reason))
    Console().print(table)


@contextmanager
def _server(url: str, timeout: float) -> Iterator[httpx.Client]:
    try:
        with httpx.Client(base_url=url, timeout=timeout) as server:
            yield server
    except httpx.TimeoutException:
        _fail(f"{url} has not answered within {timeout:g} s; what was asked may still happen", REFUSED)
    except (httpx.TransportError, httpx.InvalidURL) as error:
        _fail(f"no server answers at {url}: {error}", UNREACHABLE)


def _why(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):  # not one of ours
        return f"HTTP status {answer.status_code}"


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        _fail(f"{file} cannot be read: {error.strerror}", UNREACHABLE)


def _fail(sentence: str, code: int) -> NoReturn:
    typer.echo(f"headrace: {sentence}", err=True)
    sys.exit(code)
