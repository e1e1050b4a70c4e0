"""The page of API docs in a real browser, which reaches nothing but this server."""

import shutil
import subprocess

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH")
def test_a_browser_without_the_internet_shows_every_call(server, tmp_path):
    quiet = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    box = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", f"--user-data-dir={tmp_path}"]
    page = subprocess.run(
        [CHROMIUM, *box, *quiet, "--virtual-time-budget=20000", "--dump-dom", f"http://{server.url}/docs"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    for call in ("/v2/models/{model}/infer", "/v2/health/ready", "/v2/repository/index", "/metrics"):
        assert f'data-path="{call}"' in page
