"""One process makes, the others wait; nothing damaged is used; room is made for what is new."""

import json
import mmap
import os
import shutil
import signal
import subprocess
import sys

import pytest

from executor import entries
from executor.cache import Cache, open_cache, why_not
from executor.entries import MANIFEST
from executor.locks import locked

FACTS = {"model": "a", "runtime": "1.32.0"}
CONTENT = b"packed weights" * 1000


def make(folder):
    (folder / "w").write_bytes(CONTENT)
    return True


def never(folder):
    raise AssertionError("made although it is there")


def read(entry):
    return (entry / "w").read_bytes()


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "cache"
    assert why_not(made) is None
    return made


@pytest.fixture
def cache(folder):
    return Cache(folder, 1 << 20)


def entry_of(folder, facts=FACTS):
    return folder / entries.key(facts)


def test_made_once_and_found_afterwards(cache, folder):
    assert cache.use(FACTS, read, make) == CONTENT
    assert cache.use(FACTS, read, never) == CONTENT
    assert Cache(folder, 1 << 20).use(FACTS, read, None) == CONTENT


def test_other_facts_are_another_entry(cache):
    cache.use(FACTS, read, make)
    assert cache.use(FACTS | {"runtime": "1.33.0"}, read, None) is None


def truncate(entry):
    os.truncate(entry / "w", 100)


def flip_a_bit(entry):
    content = bytearray(CONTENT)
    content[len(content) // 2] ^= 4
    (entry / "w").write_bytes(content)


def lose_a_file(entry):
    (entry / "w").unlink()


def add_a_file(entry):
    (entry / "v").touch()


def lose_the_manifest(entry):
    (entry / MANIFEST).unlink()


def cut_the_manifest(entry):
    os.truncate(entry / MANIFEST, 30)


def come_from_another_runtime(entry):
    manifest = json.loads((entry / MANIFEST).read_text())
    manifest["facts"]["runtime"] = "1.31.0"
    (entry / MANIFEST).write_text(json.dumps(manifest))


def be_no_mapping(entry):
    (entry / MANIFEST).write_text("[]")


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        flip_a_bit,
        lose_a_file,
        add_a_file,
        lose_the_manifest,
        cut_the_manifest,
        come_from_another_runtime,
        be_no_mapping,
    ],
)
def test_what_is_damaged_or_foreign_is_made_again(cache, folder, damage, caplog):
    cache.use(FACTS, read, make)
    damage(entry_of(folder))
    assert cache.use(FACTS, read, None) is None
    assert "is not used" in caplog.text
    assert cache.use(FACTS, read, make) == CONTENT
    assert cache.use(FACTS, read, never) == CONTENT


def test_what_could_not_be_made_leaves_nothing_and_is_not_tried_for_ever(cache, folder):
    tried = []

    def fail(part):
        (part / "half").touch()
        tried.append(part)
        return False

    for _ in range(4):
        assert cache.use(FACTS, read, fail) is None
    assert len(tried) == 2
    assert [path.suffix for path in folder.iterdir()] == [".lock"]
    os.utime(entry_of(folder).with_suffix(".lock"), (1, 1))
    assert cache.use(FACTS, read, make) == CONTENT, "later it is"


def test_a_folder_that_fails_is_done_without_with_one_warning(cache, folder, caplog):
    shutil.rmtree(folder)
    folder.touch()
    assert cache.use(FACTS, read, make) is None
    assert len(caplog.records) == 1


# -- room -------------------------------------------------------------------------------------------------------------


def filled(cache, folder, name, used):
    facts = {"model": name}
    assert cache.use(facts, read, make) == CONTENT
    os.utime(entry_of(folder, facts) / MANIFEST, (used, used))
    return entry_of(folder, facts)


def room_for(count):
    return count * (len(CONTENT) + 500)


def test_the_least_recently_used_goes_first(folder):
    cache = Cache(folder, room_for(3))
    first, second, third = (filled(cache, folder, name, used) for name, used in (("a", 30), ("b", 10), ("c", 20)))
    cache.use({"model": "b"}, read, never)
    fourth = filled(cache, folder, "d", 40)
    assert [entry.exists() for entry in (first, second, third, fourth)] == [True, True, False, True]
    assert not third.with_suffix(".lock").exists()


def test_what_is_deleted_can_be_read_on_by_who_has_mapped_it(folder):
    cache = Cache(folder, room_for(1))

    def mapped(entry):
        with (entry / "w").open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    with cache.use(FACTS, mapped, make) as held:
        filled(cache, folder, "b", 10)
        assert not entry_of(folder).exists()
        assert held[:] == CONTENT


def test_what_is_being_opened_is_not_deleted(folder):
    cache = Cache(folder, room_for(1))
    old = filled(cache, folder, "a", 10)
    with locked(old.with_suffix(".lock"), shared=True):
        assert cache.use(FACTS, read, make) is None, "no room: do without"
        assert old.exists()
    assert cache.use(FACTS, read, make) == CONTENT
    assert not old.exists()


def test_what_is_larger_than_the_cache_is_not_kept_and_costs_nobody_his_place(folder):
    old = filled(Cache(folder, room_for(1)), folder, "a", 10)
    assert Cache(folder, len(CONTENT) // 2).use(FACTS, read, make) is None
    assert old.exists()
    assert not entry_of(folder).exists()


def test_what_dead_makers_left_goes_and_what_others_keep_there_stays(cache, folder):
    left = entry_of(folder, {"model": "dead"}).with_suffix(".part")
    left.mkdir()
    (left / "half").write_bytes(CONTENT)
    (folder / "photos").mkdir()
    (folder / "photos" / "cat").write_bytes(bytes(2 << 20))
    cache.use(FACTS, read, make)
    assert not left.exists()
    assert (folder / "photos" / "cat").exists()


# -- processes --------------------------------------------------------------------------------------------------------

PROGRAM = """
import os, sys
from pathlib import Path
from executor.cache import Cache

folder, wait = Path(sys.argv[1]), sys.argv[2] == "wait"

def make(part):
    with open(folder.parent / "makers", "a") as makers:
        print(os.getpid(), file=makers)
    (part / "w").write_bytes(b"packed")
    if wait:
        print("half", flush=True)
        sys.stdin.read()
    (part / "w").write_bytes(b"packed weights" * 1000)
    return True

facts = {"model": "a", "runtime": "1.32.0"}
content = Cache(folder, 1 << 20).use(facts, lambda entry: (entry / "w").read_bytes(), make)
print(len(content or b""))
"""


def process(folder, wait="no"):
    environment = os.environ | {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), wait],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def test_of_several_processes_one_makes_and_all_use_it(folder):
    maker = process(folder, "wait")
    assert maker.stdout.readline() == "half\n"
    others = [process(folder) for _ in range(3)]
    said = [maker.communicate("on")[0]] + [other.communicate()[0] for other in others]
    assert said == [f"{len(CONTENT)}\n"] * 4
    assert (folder.parent / "makers").read_text() == f"{maker.pid}\n"


def killed_half_way(folder):
    maker = process(folder, "wait")
    assert maker.stdout.readline() == "half\n"
    part = entry_of(folder).with_suffix(".part")
    assert (part / "w").read_bytes() == b"packed"
    maker.send_signal(signal.SIGKILL)
    maker.communicate()
    return part


def test_who_is_killed_while_making_leaves_no_lock_and_nothing_that_is_used(cache, folder):
    part = killed_half_way(folder)
    assert part.exists()
    assert cache.use(FACTS, read, None) is None
    assert cache.use(FACTS, read, make) == CONTENT
    assert not part.exists()


def test_after_two_were_killed_nobody_tries(cache, folder):
    """Perhaps for their memory: without the cache the model may fit."""
    killed_half_way(folder)
    killed_half_way(folder)
    assert cache.use(FACTS, read, never) is None


# -- whose folder -----------------------------------------------------------------------------------------------------


def test_a_new_folder_is_for_its_owner_only(folder):
    assert folder.stat().st_mode & 0o777 == 0o700


def test_folders_that_cannot_be_trusted_or_written_say_why(folder, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    assert "cannot be made: Not a directory" in why_not(tmp_path / "file" / "cache")
    folder.chmod(0o770)
    assert "can be written by others" in why_not(folder)
    assert open_cache(folder, 1) is None
    folder.chmod(0o755)
    assert why_not(folder) is None
    os.chown(folder, *((12345, -1) if os.geteuid() == 0 else (-1, -1)))
    monkeypatch.setattr(os, "geteuid", lambda: 23456)
    assert "belongs to somebody else" in why_not(folder)


def test_a_folder_that_is_read_only_says_so(folder):
    folder.chmod(0o500)
    command = [sys.executable, "-c", "import sys; from executor.cache import *; print(why_not(Path(sys.argv[1])))"]
    if os.geteuid() == 0:  # to whom modes mean nothing, unless
        if shutil.which("setpriv") is None:
            pytest.skip("no setpriv")
        command = ["setpriv", "--bounding-set=-dac_override", *command]
    environment = os.environ | {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    said = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=True, env=environment).stdout
    assert said == f"{folder} cannot be written\n"


def test_zero_bytes_are_no_cache(tmp_path):
    assert open_cache(tmp_path / "cache", 0) is None
    assert not (tmp_path / "cache").exists()
