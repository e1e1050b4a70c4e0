"""A pool that inherits orphans, as process 1 of a container does: here as their subreaper, prctl(2)."""

import subprocess
import sys

import psutil
import pytest

pytestmark = pytest.mark.slow

_ORPHANS = """
import asyncio, ctypes, os, subprocess, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
from server.pool.orphans import Orphans

async def main():
    Orphans()
    own = await asyncio.create_subprocess_exec("sh", "-c", "sleep 0.1; exit 7")
    # Each shell leaves a child behind and ends: it becomes ours.
    shells = [await asyncio.create_subprocess_exec("sh", "-c", "sh -c 'sleep 0.2' & exit 0") for _ in range(2)]
    print(os.getpid(), await own.wait(), *[await shell.wait() for shell in shells], flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def test_orphans_are_reaped_and_own_children_keep_their_exit_codes(eventually):
    process = subprocess.Popen([sys.executable, "-c", _ORPHANS], stdout=subprocess.PIPE, text=True)
    try:
        pid, *codes = process.stdout.readline().split()
        assert codes == ["7", "0", "0"]
        eventually(lambda: not psutil.Process(int(pid)).children(), within_s=20)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
