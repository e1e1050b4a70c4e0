"""Tables for what cgroup files say, and for what is left of the cores then."""

import os
from pathlib import PurePosixPath

import pytest

from headrace.cores import cores_within, quota_v1, quota_v2, quotas, usable_cores


@pytest.mark.parametrize(
    ("affinity", "limits", "expected"),
    [(8, [], 8), (8, [2.0], 2), (8, [2.9], 2.9), (8, [0.5], 0.5), (2, [16.0], 2), (8, [4.0, 3.0], 3)],
)
def test_the_tightest_of_affinity_and_quotas_counts(affinity, limits, expected):
    assert cores_within(affinity, limits) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max 100000\n", None),
        ("150000 100000\n", 1.5),
        ("200000\n", 2.0),
        ("max\n", None),
        ("", None),
        (None, None),
        ("nonsense here\n", None),
        ("100000 0\n", None),
    ],
)
def test_cgroup_v2_quota(text, expected):
    assert quota_v2(text) == expected


@pytest.mark.parametrize(
    ("quota", "period", "expected"),
    [
        ("-1\n", "100000\n", None),
        ("250000\n", "100000\n", 2.5),
        ("50000\n", "100000\n", 0.5),
        (None, "100000\n", None),
        ("100000\n", None, None),
        ("0\n", "100000\n", None),
    ],
)
def test_cgroup_v1_quota(quota, period, expected):
    assert quota_v1(quota, period) == expected


V2 = "0::/kubepods.slice/pod1/box\n"
V1 = "12:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n0::/\n"


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/\n", {"/sys/fs/cgroup/cpu.max": "300000 100000"}, [3.0]),
        (V2, {"/sys/fs/cgroup/kubepods.slice/pod1/box/cpu.max": "max 100000"}, []),
        (
            V2,  # the pod's limit holds for the box in it
            {
                "/sys/fs/cgroup/kubepods.slice/pod1/box/cpu.max": "400000 100000",
                "/sys/fs/cgroup/kubepods.slice/pod1/cpu.max": "200000 100000",
            },
            [4.0, 2.0],
        ),
        (
            V1,
            {
                "/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "150000",
                "/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000",
            },
            [1.5],
        ),
        (
            V1,  # in a container the path is the host's, and only the mount's root is to be seen
            {"/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "250000", "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"},
            [2.5],
        ),
        ("4:cpuset:/\n", {"/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "250000"}, []),  # cpuset is not cpu
        ("0::/../../up\n", {"/sys/fs/cgroup/up/cpu.max": "100000 100000"}, [1.0]),
        ("", {}, []),
        (None, {}, []),
    ],
)
def test_quotas_of_the_process(groups, files, expected):
    assert quotas(groups, lambda path: files.get(str(PurePosixPath(path)))) == expected


def test_this_process_has_some_cores_and_not_more_than_the_machine():
    assert 0 < usable_cores() <= os.cpu_count()
