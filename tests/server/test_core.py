import pytest

from server.core import QUEUE_BYTES, queue_bytes


@pytest.mark.parametrize(
    ("limit_mib", "replicas", "expected_mib"),
    [(None, 4, 256), (24_000, 2, 256), (512, 1, 64), (512, 2, 32), (2048, 1, 256), (2048, 4, 64)],
)
def test_tensors_that_wait_take_at_most_an_eighth_of_the_memory(limit_mib, replicas, expected_mib):
    assert QUEUE_BYTES == 256 << 20
    assert queue_bytes(limit_mib and limit_mib << 20, replicas) == expected_mib << 20
