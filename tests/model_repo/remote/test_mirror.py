"""A copy is brought up to date model by model, and nobody ever sees half a version of one."""

import contextlib
import os
import shutil
import threading
from pathlib import Path

import pytest
from remote_fakes import FakeStorage

from headrace.errors import RepositoryError
from model_repo.remote.copy import Copy
from model_repo.remote.mirror import Mirror
from model_repo.scan import scan

M1 = {"m/1/model.onnx": b"one", "m/1/weights.bin": b"weights of one"}


class Rig:
    """A mirror of a fake storage, and looks at what is served."""

    def __init__(self, folder):
        self.storage = FakeStorage(M1)
        self.folder = folder / "cache" / "copy"
        self.again()

    def again(self):
        """As after a restart."""
        self.mirror = Mirror("s3://b", self.storage, Copy(self.folder))

    def __call__(self):
        self.storage.reads.clear()
        return self.mirror.synchronise(threading.Event())

    @property
    def files(self):
        models = self.folder / "models"
        return {
            path.relative_to(models).as_posix(): path.read_bytes() for path in models.rglob("*") if not path.is_dir()
        }

    def names(self, folder="."):
        return sorted(path.name for path in (self.folder / folder).iterdir())

    def spec(self, name="m"):
        (version,) = scan([self.folder / "models"]).models[name].versions
        return version


@pytest.fixture
def rig(tmp_path):
    return Rig(tmp_path)


def test_what_is_there_is_copied_once(rig, caplog):
    caplog.set_level("INFO")
    assert rig().files == 2
    assert rig.files == M1
    assert "s3://b: copying 2 files, 17 bytes" in caplog.text
    assert "s3://b: copied 2 files, 17 bytes, and removed 0, in 0.0" in caplog.text
    caplog.clear()
    rig.again()
    rig()
    assert rig.storage.reads == []
    assert caplog.text == ""


def test_only_what_changed_is_fetched_and_the_rest_is_the_same_file(rig):
    rig.storage.objects |= {"m/2/model.onnx": b"two", "n/1/model.onnx": b"n"}
    rig()
    before, n = rig.spec(), rig.spec("n")
    rig.storage.objects["m/2/model.onnx"] = b"two!"
    rig()
    assert rig.storage.reads == [("m/2/model.onnx", 0)]
    assert rig.files == rig.storage.objects
    assert rig.spec().fingerprint != before.fingerprint
    assert rig.spec("n").fingerprint == n.fingerprint


def test_a_file_that_somebody_has_mapped_is_replaced_and_not_written(rig):
    rig()
    with (rig.folder / "models/m/1/weights.bin").open("rb") as mapped:
        rig.storage.objects["m/1/weights.bin"] = b"other weights!"
        rig()
        assert mapped.read() == b"weights of one"
    assert rig.files["m/1/weights.bin"] == b"other weights!"
    assert rig.files["m/1/model.onnx"] == b"one"


def test_a_change_of_one_version_does_not_touch_another(rig):
    rig()
    before = rig.spec().fingerprint
    rig.storage.objects |= {"m/2/model.onnx": b"two", "m/config.yaml": b"versions: [1]\n"}
    rig()
    inodes = [(rig.folder / "models" / path).stat().st_ino for path in M1]
    rig.storage.objects["m/config.yaml"] = b"versions: [1] # as before\n"
    rig()
    assert [(rig.folder / "models" / path).stat().st_ino for path in M1] == inodes
    assert rig.spec().fingerprint == before


def test_what_is_gone_remotely_goes_here(rig):
    rig.storage.objects |= {"m/2/model.onnx": b"two", "m/labels.txt": b"a", "n/1/model.onnx": b"n"}
    rig()
    for key in ("m/1/model.onnx", "m/1/weights.bin", "m/labels.txt", "n/1/model.onnx"):
        del rig.storage.objects[key]
    rig()
    assert rig.files == {"m/2/model.onnx": b"two"}
    assert rig.names("models") == ["m"]
    assert rig.names("models/m") == ["2"]


def test_a_file_may_become_a_folder_and_back(rig):
    folder, file = {"m/1/model.onnx": b"1", "m/x/y": b"in"}, {"m/1/model.onnx": b"1", "m/x": b"file"}
    for objects in (folder, file, folder):
        rig.storage.objects = objects
        rig()
        assert rig.files == objects


def test_a_version_appears_with_all_its_files_or_not_at_all(rig):
    rig()
    rig.storage.objects |= {"m/2/model.onnx": b"two", "m/2/weights.bin": b"weights of two", "n/1/model.onnx": b"n"}
    rig.storage.cuts["m/2/weights.bin"] = [4, 0, 0, 0]
    rig.mirror._storage.threads = 1
    outcome = rig.mirror.synchronise(_NoPause())
    assert outcome.failures == {"m": "m/2/weights.bin: the connection was cut"}
    assert rig.files == M1 | {"n/1/model.onnx": b"n"}  # others are not held up
    rig.again()
    assert rig().failures == {}
    assert rig.storage.reads == [("m/2/weights.bin", 4)]  # all else had come
    assert rig.files == rig.storage.objects


class _NoPause(threading.Event):
    def wait(self, timeout=None):
        return False


def test_parts_that_nobody_needs_any_more_are_removed(rig):
    rig.storage.cuts["m/1/weights.bin"] = [4, 0, 0, 0]
    rig.mirror.synchronise(_NoPause())
    assert rig.names("parts")
    rig.storage.objects["m/1/weights.bin"] = b"others"
    rig()
    assert rig.files == rig.storage.objects
    assert rig.names("parts") == []
    assert rig.names() == ["lock", "marks", "models", "parts", "whole"]


@pytest.mark.parametrize("damage", ["shorten", "remove", "stray", "link", "folder", "marks"])
def test_a_copy_that_somebody_meddled_with_is_mended(rig, damage, tmp_path):
    rig()
    models = rig.folder / "models"
    match damage:
        case "shorten":
            (models / "m/1/weights.bin").write_bytes(b"we")
        case "remove":
            (models / "m/1/weights.bin").unlink()
        case "stray":
            (models / "m/3").mkdir()
            (models / "m/3/model.onnx").touch()
            (models / "stray").touch()
        case "link":
            (models / "m").rename(tmp_path / "elsewhere")
            (models / "m").symlink_to(tmp_path / "elsewhere")
        case "folder":
            (models / "m").rename(tmp_path / "elsewhere")
            (models / "m").touch()
        case "marks":
            (rig.folder / "marks/m.json").write_text("{")
    rig()
    assert rig.files == M1
    assert not (models / "m").is_symlink()


def test_hostile_keys_are_skipped_with_a_reason_said_once(rig, caplog, tmp_path):
    rig.storage.objects |= {"../evil": b"x", "m/../../../evil": b"x", "/evil": b"x", "m/1": b"x", "README": b"x"}
    rig()
    rig()
    assert rig.files == M1
    assert not list(tmp_path.rglob("evil"))
    said = [record.getMessage() for record in caplog.records]
    assert "s3://b: '../evil' is not copied: it has a part that is . or .." in said
    assert len(said) == len(set(said)) == 4


def test_of_very_many_bad_keys_some_are_named_and_the_rest_counted(rig, caplog):
    rig.storage.objects |= {f"m//{number}": b"" for number in range(1000)}
    rig()
    assert len(caplog.records) == 21
    assert "980 more keys are not copied" in caplog.text


def test_many_files_are_all_copied(rig):
    rig.storage.threads = 4
    rig.storage.objects = {f"m{number}/1/{name}": b"x" for number in range(100) for name in ("model.onnx", "a", "b")}
    assert rig().files == 300
    assert rig.files == rig.storage.objects


def test_a_remote_that_cannot_be_listed_changes_nothing(rig):
    rig()
    rig.storage.error = ConnectionError("no route to host")
    with pytest.raises(RepositoryError, match="s3://b cannot be listed: no route to host"):
        rig()
    assert rig.files == M1
    assert rig.mirror.copy.is_whole


def test_a_cache_that_cannot_be_written_is_named(rig):
    rig.folder.parent.mkdir()
    rig.folder.touch()
    with pytest.raises(RepositoryError, match=r"the copy of s3://b in .*copy cannot be written: .*--cache-dir"):
        rig()


def test_of_two_servers_one_copies_and_the_other_finds_it_done(rig, caplog):
    caplog.set_level("INFO")
    copy = Copy(rig.folder)
    copy.make()
    waits = threading.Event()
    with copy.locked(lambda: None):
        rig.mirror = Mirror("s3://b", rig.storage, _Waiting(rig.folder, waits))
        other = threading.Thread(target=rig)
        other.start()
        assert waits.wait(20)
        Mirror("s3://b", rig.storage, copy)._synchronise(threading.Event())
        rig.storage.reads.clear()
    other.join(20)
    assert "another server is copying it" in caplog.text
    assert rig.storage.reads == []
    assert rig.files == M1


class _Waiting(Copy):
    def __init__(self, folder, waits):
        super().__init__(folder)
        self.waits = waits

    def locked(self, wait):
        return super().locked(lambda: (wait(), self.waits.set()))


OLD = {"m/1/model.onnx": b"old", "m/1/weights.bin": b"old", "m/1/same": b"same", "m/labels.txt": b"old"}
NEW = {"m/1/model.onnx": b"new", "m/1/weights.bin": b"new", "m/1/same": b"same", "m/2/model.onnx": b"new"}


class Killed(BaseException):
    pass


@pytest.mark.parametrize("calls", range(20))
def test_a_process_that_is_killed_at_any_point_leaves_whole_versions_and_the_next_one_mends_it(rig, calls, monkeypatch):
    rig.storage.objects = OLD
    rig()
    rig.storage.objects = NEW
    with monkeypatch.context() as patch:
        left = iter(range(calls))

        def dying(method):
            def call(*arguments, **options):
                if next(left, None) is None:
                    raise Killed
                return method(*arguments, **options)

            return call

        for owner, name in ((Path, "rename"), (Path, "replace"), (Path, "unlink"), (os, "link"), (shutil, "rmtree")):
            patch.setattr(owner, name, dying(getattr(owner, name)))
        with contextlib.suppress(Killed):
            rig()
    version = {path: body for path, body in rig.files.items() if path.startswith("m/1/")}
    assert version in ({}, *({path: of[path] for path in of if path.startswith("m/1/")} for of in (OLD, NEW)))
    # Back to what it was: a mark that was written too early would say that nothing has to be done.
    rig.storage.objects = OLD
    rig.again()
    rig()
    assert rig.files == OLD


def test_who_looks_all_the_time_never_sees_files_of_two_states_in_one_version(rig):
    rig()
    seen, stop = set(), threading.Event()

    def look():
        while not stop.is_set():
            with contextlib.suppress(FileNotFoundError):  # it is away for a moment, between two renames
                folder = os.open(rig.folder / "models/m/1", os.O_RDONLY)
                try:
                    seen.add(tuple(_read(name, folder) for name in ("model.onnx", "weights.bin")))
                finally:
                    os.close(folder)

    states = [(b"%d" % number, b"weights of %d" % number) for number in range(60)]
    rig.storage.objects = dict(zip(M1, states[0], strict=True))
    rig()
    looker = threading.Thread(target=look)
    looker.start()
    for state in states:
        rig.storage.objects = dict(zip(M1, state, strict=True))
        rig()
    stop.set()
    looker.join(20)
    assert seen <= set(states)
    assert len(seen) > 1


def _read(name, folder):
    file = os.open(name, os.O_RDONLY, dir_fd=folder)
    try:
        return os.read(file, 100)
    finally:
        os.close(file)
