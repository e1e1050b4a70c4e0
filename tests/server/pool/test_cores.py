import pytest

from server.pool.cores import cores_within, usable_cores


@pytest.mark.parametrize(
    ("affinity", "quota", "cores"),
    [(8, None, 8), (8, 2.0, 2), (8, 1.5, 2), (8, 0.3, 1), (2, 64.0, 2), (1, 0.01, 1)],
)
def test_quota_of_the_container_bounds_the_cores(affinity, quota, cores):
    assert cores_within(affinity, quota) == cores


def test_this_machine_has_a_core():
    assert usable_cores() >= 1
