"""Tables for what cgroup files and /proc/meminfo say about memory."""

from pathlib import PurePosixPath

import psutil
import pytest

from headrace.memory import (
    GROUP,
    MACHINE,
    Room,
    kills_of_groups,
    limit,
    of_group_v1,
    of_group_v2,
    of_groups,
    of_machine,
    room,
    tightest,
)

NO_LIMIT_V1 = "9223372036854771712\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("MemTotal:  1000 kB\nMemFree:  100 kB\nMemAvailable:  600 kB\n", Room(1000 << 10, 600 << 10, MACHINE)),
        ("MemTotal:  1000 kB\nMemFree:  100 kB\n", None),  # Linux before 3.14
        ("nonsense\n", None),
        ("", None),
        (None, None),
    ],
)
def test_what_the_machine_has(text, expected):
    assert of_machine(text) == expected


@pytest.mark.parametrize(
    ("limit", "usage", "stat", "free"),
    [
        ("1000\n", "400\n", "", 600),
        ("1000\n", "400\n", "anon 100\nfile 300\nshmem 0\n", 900),  # files that were read go when there is need
        ("1000\n", "400\n", "anon 100\nfile 300\nshmem 250\n", 650),  # a tmpfs does not
        ("1000\n", "400\n", "anon 100\nfile 200\nshmem 0\nslab_reclaimable 50\n", 850),
        ("1000\n", "1200\n", "anon 1200\n", 0),  # for a moment, before it is enforced
        ("1000\n", "100\n", "file 300\n", 1000),  # read one after the other, the numbers need not fit
        ("max\n", "400\n", "", None),
        ("1000\n", None, "", None),
        (None, "400\n", None, None),
    ],
)
def test_what_a_group_of_cgroup_v2_has(limit, usage, stat, free):
    assert of_group_v2(limit, usage, stat) == (None if free is None else Room(1000, free, GROUP))


@pytest.mark.parametrize(
    ("limit", "usage", "stat", "expected"),
    [
        ("1000\n", "400\n", "cache 1\ntotal_cache 300\ntotal_shmem 100\n", Room(1000, 800, GROUP)),
        ("1000\n", "400\n", "total_cache 300\n", Room(1000, 900, GROUP)),
        (NO_LIMIT_V1, "400\n", "", Room(int(NO_LIMIT_V1), int(NO_LIMIT_V1) - 400, GROUP)),
        ("-1 of them\n", "400\n", "", None),
        (None, None, None, None),
    ],
)
def test_what_a_group_of_cgroup_v1_has(limit, usage, stat, expected):
    assert of_group_v1(limit, usage, stat) == expected


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        (
            "0::/pod/box\n",  # the pod's limit holds for the box in it
            {"pod/box/memory.max": "max", "pod/memory.max": "500", "pod/memory.current": "100"},
            [Room(500, 400, GROUP)],
        ),
        (
            "4:memory:/docker/abc\n0::/\n",
            {"memory/memory.limit_in_bytes": "700", "memory/memory.usage_in_bytes": "200"},
            [Room(700, 500, GROUP)],
        ),
        ("4:cpu:/docker/abc\n", {"memory/memory.limit_in_bytes": "700", "memory/memory.usage_in_bytes": "200"}, []),
        ("", {}, []),
        (None, {}, []),
    ],
)
def test_groups_of_the_process(membership, files, expected):
    read = {PurePosixPath("/sys/fs/cgroup") / name: text for name, text in files.items()}.get
    assert of_groups(membership, read) == expected


def test_the_one_with_the_least_left_counts():
    machine, group = Room(1000, 600, MACHINE), Room(800, 700, GROUP)
    assert tightest([group, machine]) == machine
    assert tightest([machine, Room(800, 100, GROUP)]).whose == GROUP
    assert tightest([]) is None


def test_this_process_has_some_memory_and_not_more_than_the_machine():
    found = room()
    assert 0 < found.free_bytes <= found.limit_bytes
    assert found.free_bytes <= psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {"/sys/fs/cgroup/memory.events": "low 0\nmax 7\noom 3\noom_kill 2\n"}, 2),
        (
            "0::/a/b\n",
            {"/sys/fs/cgroup/a/b/memory.events": "oom_kill 1\n", "/sys/fs/cgroup/memory.events": "oom_kill 9\n"},
            1,
        ),
        ("4:memory:/a\n", {"/sys/fs/cgroup/memory/memory.oom_control": "under_oom 0\noom_kill 3\n"}, 3),
        ("4:memory:/a\n", {"/sys/fs/cgroup/memory/a/memory.oom_control": "under_oom 0\n"}, 0),  # Linux before 4.13
        ("0::/\n", {}, 0),
        (None, {}, 0),
    ],
)
def test_who_was_killed_for_memory_is_counted_in_the_nearest_group(membership, files, expected):
    assert kills_of_groups(membership, lambda path: files.get(str(path))) == expected


def test_the_limit_of_this_process_is_no_more_than_the_machine_has():
    assert 0 < limit() <= psutil.virtual_memory().total
