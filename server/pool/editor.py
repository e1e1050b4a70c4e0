"""Load and unload requests under way, on the replica's side: hand them to the supervisor, wait for its answer.

Receives requests from the front ends and answers from the replica; the supervisor's side is `edits.py`. What comes with
a load is written to a folder first: it may be larger than a line of the control channel.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from headrace.errors import BadRequest, LoadFailed, ModelNotFound
from model_repo.found import NAME_RULE, is_model_name
from server.pool.channel import Edit, Edited, Message

MOST_CONFIG_CHARS = 1 << 17
"""Of a configuration that comes with a load: it must fit a line of the control channel, escaped."""


class Editor:
    """Used on the replica's event loop only. `folder` is where files go that come with a load, `send` the way to the
    supervisor. `mode` is the control mode of the server.
    """

    def __init__(self, mode: str, folder: Path, send: Callable[[Message], None]) -> None:
        self._mode = mode
        self._folder = folder
        self._send = send
        self._waiting: dict[int, asyncio.Future[Edited]] = {}
        self._serial = 0

    def heard(self, message: Edited) -> None:
        """The supervisor's answer."""
        answer = self._waiting.pop(message.serial, None)
        if answer is not None and not answer.done():
            answer.set_result(message)

    def end(self) -> None:
        """The replica goes away: nobody waits any longer."""
        for serial in list(self._waiting):
            self.heard(Edited(serial, "the server is shutting down", found=True))

    async def load(self, name: str, config: str = "", files: Mapping[str, bytes] | None = None) -> None:
        """Load the model, or load it again; returns when every replica serves it.

        `config` is Triton's ModelConfig as JSON, `files` are (path below the model's folder -> content) to be served
        instead of the folder in the repository. Raises BadRequest, ModelNotFound, LoadFailed.
        """
        self._check(name)
        if len(config) > MOST_CONFIG_CHARS:
            raise BadRequest(f"parameter config has {len(config)} characters; at most {MOST_CONFIG_CHARS} are taken")
        folder = ""
        if files:
            checked = {_inside(path): content for path, content in files.items()}
            if not config and not any(str(path) in ("config.yaml", "config.pbtxt") for path in checked):
                raise BadRequest("files that come with a load need the parameter config, which may be {}")
            at = self._folder / uuid.uuid4().hex / name
            await asyncio.to_thread(_write, at, checked)
            folder = str(at)
        await self._ask(True, name, config, folder)

    async def unload(self, name: str) -> None:
        """Unload the model; returns when no replica holds it any more. Raises BadRequest, ModelNotFound."""
        self._check(name)
        await self._ask(False, name)

    async def _ask(self, load: bool, name: str, config: str = "", folder: str = "") -> None:
        self._serial += 1
        serial = self._serial
        answer = self._waiting[serial] = asyncio.get_running_loop().create_future()
        self._send(Edit(serial, load, name, config, folder))
        try:
            edited = await answer
        finally:
            self._waiting.pop(serial, None)
        if edited.reason:
            raise (LoadFailed if edited.found else ModelNotFound)(edited.reason)

    def _check(self, name: str) -> None:
        if not is_model_name(name):
            raise BadRequest(f"{name[:100]!r} is no model name: {NAME_RULE}")
        if self._mode != "explicit":
            raise BadRequest(
                f"models are loaded and unloaded by request only in explicit mode, and the mode of this server is "
                f"{self._mode!r}: start it with --model-control-mode explicit"
            )


def _inside(path: str) -> PurePosixPath:
    """`path`, if it stays in the folder it is put into."""
    parts = path.split("/")
    if any(part in ("", ".", "..") or "\0" in part or len(part.encode()) > 255 for part in parts):
        raise BadRequest(f"a file that comes with a load has a path below the model's folder, found {path[:200]!r}")
    return PurePosixPath(path)


def _write(folder: Path, files: Mapping[PurePosixPath, bytes]) -> None:
    try:
        for path, content in files.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    except OSError as error:
        raise LoadFailed(f"the files that came with the load cannot be written: {error.strerror}") from None
