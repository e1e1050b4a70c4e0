import pytest

from server.pool.child import how_it_ended


@pytest.mark.parametrize(
    ("code", "kills", "says"),
    [
        (-9, 0, "killed by SIGKILL"),
        (
            -9,
            2,
            "killed by SIGKILL, most likely by the kernel at the memory limit of the control group: 2 killed there",
        ),
        (-11, 2, "killed by SIGSEGV"),
        (3, 2, "exit code 3 (BOOT_FAILED)"),
        (77, 0, "exit code 77"),
    ],
)
def test_an_end_is_said_in_words_with_the_likely_reason(code, kills, says):
    assert how_it_ended(code, kills).startswith(says)
    assert ("memory" in how_it_ended(code, kills)) is ("memory" in says)
