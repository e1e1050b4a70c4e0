"""What is looked at before anything is started: a mistake that can be seen now costs no pool of processes.

Receives the finished configuration from the command line. `check` raises a ConfigError that says what to do;
`doubts` are what may be meant and probably is not: warnings. Reads folder names and no model.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

from executor.cache import why_not
from headrace.cache import cache_folder
from headrace.config import ServerConfig
from headrace.errors import ConfigError
from model_repo.remote import extras
from server.rpc.tls import tls_context

PACKAGES = ("headrace", "batcher", "executor", "model_repo", "server", "loadtest")
LAYOUT = "NAME/VERSION/model.onnx"


def check(settings: ServerConfig) -> None:
    """Raises ConfigError for the first thing that makes serving pointless or impossible."""
    _one_place()
    if not settings.model_repository:
        raise ConfigError(
            f"nothing to serve: name a folder of models ({LAYOUT}), `headrace serve DIR`;"
            " `headrace serve --help` lists the options"
        )
    for repository in settings.model_repository:
        if isinstance(repository, Path):
            _is_repository(repository)
        else:
            extras.check(repository)
    if settings.load_model and settings.model_control_mode != "explicit":
        raise ConfigError(
            f"--load-model needs --model-control-mode explicit; the mode is {settings.model_control_mode!r}"
        )
    if settings.http_port == settings.grpc_port != 0:
        raise ConfigError(f"REST and gRPC need a port each; --http-port and --grpc-port are both {settings.http_port}")
    tls_context(settings.grpc_tls_certificate, settings.grpc_tls_key)
    _runtime()


def doubts(settings: ServerConfig) -> Iterator[str]:
    """A sentence for each thing that will disappoint. Call after `check`."""
    if settings.model_control_mode == "explicit" and not settings.load_model:
        yield "explicit mode without --load-model: it starts with no model"
    for repository in settings.model_repository:
        if isinstance(repository, Path) and not any(_folders(repository)):
            later = "" if settings.model_control_mode == "poll" else "; only --model-control-mode poll looks again"
            yield f"model repository {repository} has no models: expected {LAYOUT} in it{later}"
    if settings.cache_max_bytes:
        reason = why_not(cache_folder(settings.cache_dir, os.environ))
        if reason:
            yield f"no cache, replicas do not share their models' weights: {reason}; see --cache-dir"


def _is_repository(folder: Path) -> None:
    if not folder.exists():
        raise ConfigError(f"model repository {folder} does not exist")
    if not folder.is_dir():
        raise ConfigError(f"model repository {folder} is not a folder")
    here = folder.resolve()
    if any(_is_version(version) for model in _folders(here) for version in _folders(model)):
        return
    if any(map(_is_version, _folders(here))):
        raise ConfigError(f"model repository {folder} is a model; serve the folder that it is in, {here.parent}")
    if _is_version(here):
        raise ConfigError(f"model repository {folder} is a version of a model; serve {here.parent.parent}")


def _is_version(folder: Path) -> bool:
    return folder.name.isdecimal() and (folder / "model.onnx").is_file()


def _folders(folder: Path) -> Iterator[Path]:
    try:
        for path in folder.iterdir():
            if path.is_dir() and not path.name.startswith("."):
                yield path
    except OSError as error:
        raise ConfigError(f"model repository: {folder} cannot be read: {error.strerror}") from None


def _runtime() -> None:
    """Say at once, and once, if ONNX Runtime is not installed."""
    if importlib.util.find_spec("onnxruntime") is None:
        importlib.import_module("executor.runtime")  # raises ConfigError with what to install


def _one_place() -> None:
    """The packages have plain names; another project's `server` on the path must not be taken for ours."""
    places = {}
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        places[package] = Path(spec.origin).parent.parent if spec and spec.origin else None
    strangers = {name: place for name, place in places.items() if place != places["headrace"]}
    if strangers:
        found = ", ".join(f"{name} from {place}" for name, place in strangers.items())
        raise ConfigError(f"the packages of Headrace must come from one place, {places['headrace']}; found {found}")
