"""KServe's clients, unmodified, as judges of both protocols.

In a process of their own: KServe brings its own compiled copy of the protocol's messages, and a second one besides
that of tritonclient[grpc] cannot be loaded into one process.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

CALLS = Path(__file__).with_name("kserve_calls.py")


@pytest.mark.skipif(importlib.util.find_spec("kserve") is None, reason="kserve is not for this Python")
@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_kserve_client_asks_and_is_answered(server, protocol):
    url = {"rest": f"http://{server.url}", "grpc": server.grpc_url}[protocol]
    asked = subprocess.run(
        [sys.executable, "-W", "error", str(CALLS), protocol, url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (asked.returncode, asked.stdout) == (0, "all right\n"), asked.stderr
