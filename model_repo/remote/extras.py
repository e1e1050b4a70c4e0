"""Is there what it takes to read a URL? Asked before anything starts."""

from __future__ import annotations

import importlib

from headrace.errors import ConfigError
from headrace.repositories import Url
from model_repo.remote.address import shown

EXTRAS = {
    **dict.fromkeys(("s3", "s3a"), "s3"),
    **dict.fromkeys(("gs", "gcs"), "gcs"),
    **dict.fromkeys(("az", "abfs", "abfss", "adl"), "azure"),
}
"""Protocol -> extra of ours that brings its library. All others: `remote`, and perhaps a library of their own."""


def check(url: Url) -> None:
    """Raises ConfigError saying what to install, or that there is no such protocol."""
    protocol = url.split("::")[-1].partition("://")[0]
    extra = EXTRAS.get(protocol, "remote")
    install = f"pip install 'headrace[{extra}]'"
    try:
        registry = importlib.import_module("fsspec")
    except ImportError:
        raise ConfigError(f"model repository {shown(url)} needs fsspec, which is not installed: {install}") from None
    try:
        registry.get_filesystem_class(protocol)
    except ImportError as error:
        # For a library that we have no extra for, fsspec says what to install.
        hint = install if protocol in EXTRAS or protocol in ("http", "https") else str(error)
        raise ConfigError(f"model repository {shown(url)} needs a library that is not installed: {hint}") from None
    except ValueError:
        raise ConfigError(f"model repository {shown(url)}: there is no protocol {protocol!r}") from None
