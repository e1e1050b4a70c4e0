"""Whatever fsspec can read, as a listing of entries and a stream of bytes from an offset.

Receives a URL; hands entries, by key relative to the URL, to the mirror. All calls block and may come from any thread.
What they raise is whatever the backend's library raises, `reason` puts it into words; credentials are found by that
library itself. Invariant: what cannot be listed whole raises; a part of a listing would be an order to remove the rest.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from headrace.errors import RepositoryError
from headrace.repositories import Url
from model_repo.remote.marks import mark
from model_repo.remote.plan import Entry
from model_repo.remote.threads import spread

CHUNK_BYTES = 8 << 20
"""Of one request for a range, and what a download holds in memory: a cut costs less than this."""
MOST_FILES = 200_000
DEEPEST = 16
READERS = 4
LOOK_UPS = 8
"""Sizes and etags asked for at a time where a listing does not have them."""
SILENCE_S = 60.0
EMPTY_IS_LOST = ("http://", "https://", "az://", "abfs://", "abfss://", "adl://")
"""Where a page that says "back soon", or a container that is not there, looks like one without files."""


class CannotResume(Exception):
    """This file can only be read from its beginning."""


class Storage:
    """One URL. The library is opened with the first call."""

    def __init__(self, url: Url) -> None:
        self._url = url
        self._is_web = url.startswith(("http://", "https://"))
        self._opened: tuple[Any, str] | None = None

    def list(self) -> dict[str, Entry]:
        """All files below the URL. Raises if any part of it cannot be listed."""
        files, root = self._open()
        files.invalidate_cache()
        found = list(self._find(files, root) if _lists_at_once(files) else self._walk(files, root))
        keys = {key: info for info in found if (key := self._key(info["name"], root)) is not None}
        if not keys and self._url.startswith(EMPTY_IS_LOST):
            raise RepositoryError("nothing is listed there, which is no order to remove everything")
        unknown = [key for key, info in keys.items() if info.get("size") is None]
        for key, info in spread(
            lambda key: _look_up(files, keys[key]["name"]), unknown, LOOK_UPS if files.async_impl else 1
        ):
            if isinstance(info, Exception):
                raise info
            keys[key] = info
        return {
            key: Entry(info["name"], info["size"], mark(info))
            for key, info in keys.items()
            if info.get("size") is not None
        }

    @property
    def threads(self) -> int:
        """How many may read at a time. What is not made for it, FTP for one, has a single connection."""
        return READERS if self._open()[0].async_impl else 1

    def mark(self, entry: Entry) -> str:
        """The mark that the file has now."""
        files, _ = self._open()
        files.invalidate_cache()
        return mark(files.info(entry.source))

    def read(self, entry: Entry, offset: int) -> Iterator[bytes]:
        """The file's bytes from `offset` on, as far as they come. Raises CannotResume if it cannot start there."""
        files, _ = self._open()
        # From the web in one stream: servers that know no ranges are common. Elsewhere a range for each chunk.
        streamed = self._is_web and not offset
        with files.open(entry.source, "rb", block_size=0 if streamed else CHUNK_BYTES, cache_type="none") as file:
            if offset:
                file.seek(offset)
            while offset < entry.size:
                try:
                    chunk = file.read(min(CHUNK_BYTES, entry.size - offset))
                except ValueError as error:
                    raise CannotResume(str(error)) from None
                if not chunk:
                    return
                yield chunk
                offset += len(chunk)

    def _open(self) -> tuple[Any, str]:
        if self._opened is None:
            core = importlib.import_module("fsspec.core")
            files, root = core.url_to_fs(self._url, **(_web_options() if self._is_web else {}))
            self._opened = files, str(root).rstrip("/")
        return self._opened

    def _find(self, files: Any, root: str) -> Iterator[dict[str, Any]]:
        yield from self._at_most(files.find(root, detail=True).values())

    def _walk(self, files: Any, root: str) -> Iterator[dict[str, Any]]:
        """Folder by folder: fsspec's own walk takes a folder that cannot be read for an empty one."""
        yield from self._at_most(_below(files, root, DEEPEST))

    def _at_most(self, infos: Any) -> Iterator[dict[str, Any]]:
        for count, info in enumerate(info for info in infos if info["type"] != "directory"):
            if count == MOST_FILES:
                raise RepositoryError(f"it has more than {MOST_FILES} files; name a folder of models in it")
            yield info

    def _key(self, name: str, root: str) -> str | None:
        if not name.startswith(f"{root}/"):
            return None  # a link to elsewhere; or the root itself, which is a file
        key = name[len(root) + 1 :]
        if self._is_web:
            return None if "?" in key or "#" in key else unquote(key)  # index pages link to their own sort orders
        return key


def reason(error: BaseException) -> str:
    """What went wrong, for a sentence. What is not found is often said by nothing but its name."""
    text = " ".join(str(error).split()) or type(error).__name__
    return f"{text} does not exist" if isinstance(error, FileNotFoundError) and " " not in text else text


def _lists_at_once(files: Any) -> bool:
    """Object stores list everything below a prefix in one go; their `find` is one of their own."""
    spec, asyn = importlib.import_module("fsspec.spec"), importlib.import_module("fsspec.asyn")
    name, general = ("_find", asyn.AsyncFileSystem) if files.async_impl else ("find", spec.AbstractFileSystem)
    return getattr(type(files), name) is not getattr(general, name)


def _below(files: Any, folder: str, depth: int) -> Iterator[dict[str, Any]]:
    for info in files.ls(folder, detail=True):
        if info["type"] != "directory":
            yield info
        elif depth and info["name"].rstrip("/") != folder and info["name"].startswith(f"{folder}/"):
            yield from _below(files, info["name"].rstrip("/"), depth - 1)


def _look_up(files: Any, name: str) -> dict[str, Any]:
    """What is known about one file. A page's link to nothing is a file without a size, not a failure."""
    try:
        info: dict[str, Any] = files.info(name)
    except FileNotFoundError as error:
        if error.__cause__ is not None and getattr(error.__cause__, "status", 0) not in (403, 404, 410):
            raise error.__cause__ from None
        return {"name": name, "size": None}
    return info


def _web_options() -> dict[str, Any]:
    """No limit on how long a large file may take, one on silence. The library's own is five minutes for everything."""
    timeout = importlib.import_module("aiohttp").ClientTimeout(total=None, sock_connect=10, sock_read=SILENCE_S)
    return {"client_kwargs": {"timeout": timeout}}
