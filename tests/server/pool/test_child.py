import asyncio
from pathlib import Path

import pytest

from server.pool.child import Child, how_it_ended


def test_the_system_ends_a_child_rather_than_the_supervisor(tmp_path):
    async def scenario():
        child = await Child.spawn("server.pool", tmp_path, "server.application:Application")
        scores = score("self"), score(child.pid)
        child.kill()
        await child.follow(lambda message: None)
        return scores

    def score(pid):
        return int(Path(f"/proc/{pid}/oom_score_adj").read_text())

    mine, its = asyncio.run(scenario())
    assert its > mine or mine == 1000


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
