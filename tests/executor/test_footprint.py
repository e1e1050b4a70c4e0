"""What loads take of memory, told apart."""

import mmap
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.footprint import Meter, Use, mapped, mapped_in, own_bytes, share_bytes


class Level:
    """Bytes that are taken, as a test says."""

    def __init__(self, taken=1000):
        self.taken = taken

    def __call__(self):
        return self.taken


def test_one_load_gets_what_was_taken_while_it_went_on():
    level = Level()
    meter = Meter(level)
    level.taken += 7  # before
    with meter.growth(1.0) as growth:
        level.taken += 500
    level.taken += 7  # after
    assert growth.bytes == 500


def test_loads_that_overlap_share_what_is_taken_meanwhile_by_their_sizes():
    level = Level()
    meter = Meter(level)
    with meter.growth(3.0) as large:
        level.taken += 100
        with meter.growth(1.0) as small:
            level.taken += 400
        level.taken += 50
    assert large.bytes == 100 + 300 + 50
    assert small.bytes == 100


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-1000, 1000)), max_size=30))
def test_what_was_taken_while_something_was_loaded_is_given_out_once(steps):
    """Each step takes some bytes and then begins or ends load number `which`."""
    level, given_out, expected = Level(), [], 0
    meter = Meter(level)
    open_loads = {}
    for which, count in steps:
        level.taken += count
        expected += count if open_loads else 0
        if which in open_loads:
            context, growth = open_loads.pop(which)
            context.__exit__(None, None, None)
            given_out.append(growth)
        else:
            context = meter.growth(which + 1.0)
            open_loads[which] = context, context.__enter__()
    for context, growth in open_loads.values():
        context.__exit__(None, None, None)
        given_out.append(growth)
    assert sum(growth.bytes for growth in given_out) == pytest.approx(expected, abs=1e-6)


MAPS = """\
7f0000000000-7f0000100000 r--p 00000000 00:2d 11 /cache/key/weights.bin
7f0000100000-7f0000180000 r--p 00200000 00:2d 11 /cache/key/weights.bin
7f0000200000-7f0000300000 r--p 00000000 00:2d 11 /cache/key/weights.bin
7f0000300000-7f0000301000 r--p 00000000 00:2d 12 /models/m/1/a b.bin
7f0000400000-7f0000500000 r-xp 00000000 08:01 99 /usr/lib/libc.so.6
7f0000500000-7f0000600000 rw-p 00000000 00:00 0
7f0000600000-7f0000700000 r--p 00000000 00:2d 13 /cache/key2/weights.bin
"""


def test_files_in_these_folders_count_with_what_is_mapped_of_them_each_part_once():
    assert mapped_in(MAPS, ["/cache/key", "/models/m/1"]) == [
        Use("cpu", (1 << 20) + (1 << 19), "00:2d 11"),
        Use("cpu", 1 << 12, "00:2d 12"),
    ]


def test_a_file_that_this_process_maps_is_found(tmp_path):
    path = tmp_path / "weights.bin"
    path.write_bytes(bytes(1 << 16))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ):
        (use,) = mapped([tmp_path])
        assert use.bytes == 1 << 16
    assert mapped([tmp_path]) == []


def test_this_process_has_memory_of_its_own_and_it_grows():
    before = own_bytes()
    held = bytearray(os.urandom(64 << 20))
    assert own_bytes() - before >= len(held) * 0.9
    assert share_bytes(os.getpid()) > 0
    assert share_bytes(1 << 30) == 0  # there is no such process


def test_loads_that_have_measured_the_same_so_far_are_told_apart():
    level = Level()
    meter = Meter(level)
    with meter.growth(1.0) as outer:
        with meter.growth(1.0):
            pass  # leaves first, and is equal to the one that stays
        level.taken += 100
    assert outer.bytes == 100


def test_threads_may_measure_at_once():
    meter, growths = Meter(own_bytes), []

    def load():
        with meter.growth(1.0) as growth:
            growths.append(growth)

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(growths) == 8
    assert meter._open == []
