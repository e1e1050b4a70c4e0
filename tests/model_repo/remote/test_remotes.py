"""Remotes as the sources see them: one warning per outage, and what was copied goes on being served."""

import asyncio
import contextlib
from pathlib import Path

import fsspec
import pytest
from remote_fakes import FakeStorage

from headrace.errors import RepositoryError
from model_repo import sources
from model_repo.override import Override
from model_repo.remote.remotes import Remotes

URL = "s3://b/models"
FILES = {"m/1/model.onnx": b"one"}


@pytest.fixture
def storage(monkeypatch):
    """What is behind URL."""
    fake = FakeStorage(FILES)
    monkeypatch.setattr("model_repo.remote.download.PAUSES_S", (0.0, 0.0, 0.0))
    monkeypatch.setattr("model_repo.remote.remotes.Storage", lambda url: fake)
    return fake


class Ticks:
    """A sleep that returns when told to. `slept` are the times that were asked for."""

    def __init__(self):
        self.slept = []
        self.asleep = asyncio.Event()
        self.wake = asyncio.Event()

    async def __call__(self, seconds):
        self.slept.append(seconds)
        self.asleep.set()
        await self.wake.wait()
        self.wake.clear()

    async def tick(self):
        """One synchronisation more, done when this returns."""
        await self.asleep.wait()
        self.asleep.clear()
        self.wake.set()
        await self.asleep.wait()


def test_copies_stand_in_for_their_urls_in_the_order_named(tmp_path):
    remotes = Remotes((Path("a"), URL, Path("b"), "gs://c"), tmp_path)
    assert [folder.name for folder in remotes.folders] == ["a", "models", "b", "models"]
    assert remotes.folders[1].parent.parent == tmp_path / "remote"
    assert remotes.folders[1].parent.name.startswith("s3-b-models-")


def test_a_remote_that_cannot_be_reached_at_the_start_is_an_error_unless_there_is_a_copy(storage, tmp_path, caplog):
    storage.error = ConnectionError("no route")
    with pytest.raises(RepositoryError, match=r"^s3://b/models cannot be listed: no route$"):
        asyncio.run(Remotes((URL,), tmp_path).synchronise())
    storage.error = None
    asyncio.run(Remotes((URL,), tmp_path).synchronise())
    storage.error = ConnectionError("no route")
    remotes = Remotes((URL,), tmp_path)
    asyncio.run(remotes.synchronise())
    assert "s3://b/models cannot be listed: no route; what was copied before is served" in caplog.text
    assert (remotes.folders[0] / "m/1/model.onnx").read_bytes() == b"one"


def test_a_copy_that_was_never_whole_is_no_copy_to_start_from(storage, tmp_path):
    storage.objects["n/1/model.onnx"] = b"nnn"
    storage.cuts["n/1/model.onnx"] = [0, 0, 0]
    asyncio.run(Remotes((URL,), tmp_path).synchronise())  # m is there, which is better than nothing
    storage.error = ConnectionError("no route")
    with pytest.raises(RepositoryError):
        asyncio.run(Remotes((URL,), tmp_path).synchronise())


def test_nothing_that_can_be_copied_is_an_error(storage, tmp_path):
    storage.cuts["m/1/model.onnx"] = [0, 0, 0]
    with pytest.raises(RepositoryError, match=r"model m cannot be copied: m/1/model.onnx: the connection was cut"):
        asyncio.run(Remotes((URL,), tmp_path).synchronise())


def test_an_outage_is_said_once_and_asked_about_ever_more_rarely(storage, tmp_path, caplog):
    caplog.set_level("INFO")

    async def main():
        ticks = Ticks()
        remotes = Remotes((URL,), tmp_path, 15.0, ticks)
        await remotes.synchronise()
        async with remotes.followed():
            storage.error = ConnectionError("no route")
            for _ in range(3):
                await ticks.tick()
            storage.error = None
            storage.objects["m/1/model.onnx"] = b"two"
            await ticks.tick()
            await ticks.tick()
        return ticks.slept, (remotes.folders[0] / "m/1/model.onnx").read_bytes()

    assert asyncio.run(main()) == ([15, 30, 60, 120, 15, 15], b"two")
    assert caplog.text.count("no route") == 1
    assert caplog.text.count("is copied again") == 1


def test_a_remote_without_models_is_said_once(storage, tmp_path, caplog):
    storage.objects = {"README": b""}

    async def main():
        remotes = Remotes((URL,), tmp_path)
        for _ in range(3):
            await remotes.synchronise()

    asyncio.run(main())
    assert [record.getMessage() for record in caplog.records] == [
        "s3://b/models has no models: expected NAME/VERSION/model.onnx in it"
    ]


def test_every_mode_looks_at_the_remotes_first(storage, tmp_path):
    async def main(mode, names):
        remotes = Remotes((URL,), tmp_path / mode)
        source = aiter(sources.source(mode, remotes.folders, names, remotes))
        async with asyncio.timeout(20), contextlib.aclosing(source):
            return [str(id) for id in (await anext(source)).wanted]

    assert asyncio.run(main("none", ())) == ["m/1"]
    assert asyncio.run(main("explicit", ("m",))) == ["m/1"]
    assert asyncio.run(main("poll", ())) == ["m/1"]


def test_a_load_by_request_looks_at_the_remotes_again_and_does_without_them_if_it_must(storage, tmp_path):
    async def main():
        remotes = Remotes((URL,), tmp_path)
        explicit = sources.source("explicit", remotes.folders, (), remotes)
        assert [scan.wanted async for scan in explicit] == [{}]
        storage.objects["m/2/model.onnx"] = b"two"
        assert [str(id) for id in (await explicit.load("m", Override())).wanted] == ["m/2"]
        storage.error = ConnectionError("no route")
        assert [str(id) for id in (await explicit.load("m", Override())).wanted] == ["m/2"]

    asyncio.run(main())


def test_poll_follows_remotes_and_folders_together(tmp_path):
    memory = fsspec.filesystem("memory")
    memory.pipe("/followed/far/1/model.onnx", b"1")
    (tmp_path / "here/near/1").mkdir(parents=True)
    (tmp_path / "here/near/1/model.onnx").touch()

    async def main():
        remotes = Remotes((tmp_path / "here", "memory://followed"), tmp_path / "cache", 0.05)
        source = sources.poll(remotes.folders, settle_s=0.01, rescan_s=0.5, remotes=remotes)
        async with asyncio.timeout(20), contextlib.aclosing(source):
            assert [str(id) for id in (await anext(source)).wanted] == ["far/1", "near/1"]
            memory.pipe("/followed/far/2/model.onnx", b"2")
            assert [str(id) for id in (await anext(source)).wanted] == ["far/2", "near/1"]
            memory.rm("/followed/far", recursive=True)
            assert [str(id) for id in (await anext(source)).wanted] == ["near/1"]

    asyncio.run(main())
