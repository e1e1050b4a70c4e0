"""Fakes and builders for the tests of model_repo: specs out of a few words, servables that are told when to load."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from headrace.config import ModelConfig
from headrace.models import ModelId
from model_repo.manager import Manager
from model_repo.spec import VersionSpec, WantedSet


def spec(text: str) -> VersionSpec:
    """`m/1` or, with a fingerprint other than "a", `m/1b`."""
    name, _, rest = text.partition("/")
    version = int(rest.rstrip("abcdefghijklmnopqrstuvwxyz"))
    fingerprint = rest.lstrip("0123456789") or "a"
    return VersionSpec(ModelId(name, version), Path(name, str(version), "model.onnx"), ModelConfig(), fingerprint, {})


def want(text: str) -> WantedSet:
    """`m/1 m/2b n/1` as a wanted set."""
    specs = [spec(word) for word in text.split()]
    return {one.id: one for one in specs}


class FakeServable:
    """A loaded version that knows which files it came from and whether it was closed."""

    def __init__(self, spec: VersionSpec) -> None:
        self.spec = spec
        self.closed = 0
        self.close_error: Exception | None = None

    @property
    def tag(self) -> str:
        return f"{self.spec.id}{self.spec.fingerprint}"

    async def close(self) -> None:
        self.closed += 1
        if self.close_error is not None:
            raise self.close_error


class PuppetLoader:
    """Loads only when told to. `started` keeps what was asked for, in order, as tags like "m/1a"."""

    def __init__(self, automatic: bool = False) -> None:
        self.automatic = automatic
        self.started: list[str] = []
        self.made: dict[str, FakeServable] = {}
        self.failing: dict[str, Exception] = {}
        self._waiting: dict[str, asyncio.Future[FakeServable]] = {}

    async def __call__(self, spec: VersionSpec) -> FakeServable:
        servable = FakeServable(spec)
        self.started.append(servable.tag)
        if servable.tag in self.failing:
            raise self.failing[servable.tag]
        if not self.automatic:
            self._waiting[servable.tag] = asyncio.get_running_loop().create_future()
            await self._waiting[servable.tag]
        self.made[servable.tag] = servable
        return servable

    def finish(self, tag: str) -> None:
        self._waiting.pop(tag).set_result(None)

    def fail(self, tag: str, error: Exception) -> None:
        self._waiting.pop(tag).set_exception(error)


async def idle() -> None:
    """Let everything run that can run without anything from outside."""
    for _ in range(20):
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def running(loader: PuppetLoader) -> AsyncIterator[Manager[FakeServable]]:
    """A manager whose loop runs, and which must end within seconds when the test has closed or left it."""
    manager: Manager[FakeServable] = Manager(loader)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        loop = group.create_task(manager.run(), name="manager")
        await idle()
        yield manager
        loop.cancel()
