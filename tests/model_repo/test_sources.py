import asyncio
import contextlib

import pytest

from headrace.errors import RepositoryError
from model_repo import sources
from model_repo.explicit import Explicit
from model_repo.found import ModelScan, Problem, Scan
from model_repo.routing import Routing
from model_repo.sources import follow, none, poll, settle


def found(**models):
    """`m="1 2b"` is a model with two versions; `m="!reason"` one that is broken."""
    return Scan(
        {
            name: ModelScan(problems=(Problem(name, None, text[1:]),))
            if text.startswith("!")
            else ModelScan(tuple(text.split()))
            for name, text in models.items()
        }
    )


@pytest.mark.parametrize(
    ("published", "last", "now", "expected"),
    [
        (found(), found(m="1"), found(m="1"), found(m="1")),  # two looks agree
        (found(), found(), found(m="1"), found()),  # just seen: may be half a copy
        (found(m="1"), found(m="1"), found(m="1b"), found(m="1")),  # just changed
        (found(m="1"), found(m="1b"), found(m="1b"), found(m="1b")),
        (found(m="1"), found(m="1"), found(), found(m="1")),  # just gone: may be a rename
        (found(m="1"), found(), found(), found()),
        (found(m="1", n="1"), found(m="1b", n="2"), found(m="1c", n="2"), found(m="1", n="2")),  # each for itself
    ],
)
def test_settle(published, last, now, expected):
    assert settle(published, last, now) == expected


def test_a_model_that_becomes_broken_keeps_its_versions_and_shows_the_problem():
    broken = found(m="!typo")
    kept = settle(found(m="1"), broken, broken)
    assert kept == Scan({"m": ModelScan(("1",), (Problem("m", None, "typo"),))})
    assert settle(kept, broken, broken) == kept
    assert settle(kept, found(m="2"), found(m="2")) == found(m="2")


def test_a_model_that_becomes_broken_keeps_its_labels_too():
    labelled = Scan({"m": ModelScan(("1",), routing=Routing({"stable": 1}))})
    broken = found(m="!typo")
    assert settle(labelled, broken, broken).routing == labelled.routing
    assert settle(labelled, found(m="1"), found(m="1")).routing == {}


class Puppet:
    """Looks that are given beforehand, hints that come when told, and a count of the pauses."""

    def __init__(self, *looks):
        self.looks = list(looks)
        self.pauses = 0

    async def look(self):
        scan = self.looks.pop(0)
        if isinstance(scan, Exception):
            raise scan
        return scan

    async def hints(self):
        while self.looks:
            yield None

    async def pause(self):
        self.pauses += 1

    async def run(self):
        return [scan async for scan in follow(self.look, self.hints(), self.pause)]


def test_a_copy_in_progress_is_not_served():
    puppet = Puppet(found(), found(m="1"), found(m="1b"), found(m="1c"), found(m="1c"))
    assert asyncio.run(puppet.run()) == [found(), found(m="1c")]
    assert puppet.pauses == 3


def test_a_long_copy_does_not_hold_up_other_models():
    looks = [found(m="1a", n="1"), found(m="1b", n="1"), found(m="1c", n="1"), found(m="1c", n="1")]
    assert asyncio.run(Puppet(found(), *looks).run()) == [found(), found(n="1"), found(m="1c", n="1")]


def test_nothing_is_said_when_nothing_changed():
    puppet = Puppet(found(m="1"), found(m="1"), found(m="1"))
    assert asyncio.run(puppet.run()) == [found(m="1")]
    assert puppet.pauses == 0


def test_a_repository_that_goes_away_for_a_while_unloads_nothing(caplog):
    puppet = Puppet(found(m="1"), RepositoryError("stale file handle"), found(m="1"), found(m="2"), found(m="2"))
    assert asyncio.run(puppet.run()) == [found(m="1"), found(m="2")]
    assert "keeping what is loaded: stale file handle" in caplog.text


def test_a_repository_that_is_not_there_at_the_start_is_an_error(tmp_path):
    async def main(source):
        with pytest.raises(RepositoryError, match="nowhere cannot be read"):
            await anext(source)

    for source in (none, poll):
        asyncio.run(main(source([tmp_path / "nowhere"])))


def add(repository, path):
    (repository / path).parent.mkdir(parents=True, exist_ok=True)
    (repository / path).write_bytes(b"onnx")


def test_none_and_explicit_look_once(tmp_path):
    add(tmp_path, "a/1/model.onnx")
    add(tmp_path, "b/1/model.onnx")

    async def main(source):
        (only,) = [scan async for scan in source]
        return [str(id) for id in only.wanted], [(problem.name, problem.reason) for problem in only.problems]

    assert asyncio.run(main(none([tmp_path]))) == (["a/1", "b/1"], [])
    assert asyncio.run(main(Explicit([tmp_path], ["*"]))) == (["a/1", "b/1"], [])
    assert asyncio.run(main(Explicit([tmp_path], []))) == ([], [("a", "not loaded"), ("b", "not loaded")])
    assert asyncio.run(main(Explicit([tmp_path], ["b", "c"]))) == (
        ["b/1"],
        [("a", "not loaded"), ("c", "is not in the repository")],
    )


def test_poll_follows_real_folders(tmp_path, monkeypatch):
    add(tmp_path, "a/1/model.onnx")

    async def main():
        async with asyncio.timeout(20), contextlib.aclosing(poll([tmp_path], settle_s=0.01, rescan_s=0.2)) as source:
            assert [str(id) for id in (await anext(source)).wanted] == ["a/1"]
            add(tmp_path, "a/2/model.onnx")
            assert [str(id) for id in (await anext(source)).wanted] == ["a/2"]
            (tmp_path / "a/2/model.onnx").unlink()
            (tmp_path / "a/2").rmdir()
            assert [str(id) for id in (await anext(source)).wanted] == ["a/1"]

    asyncio.run(main())
    assert sources.RESCAN_S > sources.SETTLE_S
