"""The report's page in a real browser that reaches nothing: it is drawn whole, and nothing is complained of."""

import shutil
import subprocess

import pytest
import uvloop
from misbehaving import misbehaving

from loadtest.attack import Attack, Course
from loadtest.chart import COLOURS
from loadtest.client import Client
from loadtest.findings import findings
from loadtest.page import page
from loadtest.shot import Shot
from loadtest.where import parse

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SIZE = (1400, 1400)
SERVER = {
    "models": {
        "m": {"total_ms": 1.9, "queue_ms": 1.0, "input_ms": 0.1, "infer_ms": 0.5, "output_ms": 0.05}
        | {"requests": 10, "rows_per_batch": 1.7, "batches": {str(size): size for size in (1, 2, 4, 8, 16)}}
    },
    "replicas": {"0": 30, "1": 10},
}


def run(connections):
    async def scenario():
        async with misbehaving(refuse_every=50) as (server, _):
            shots = [Shot("m", Client(parse("localhost")).request("POST", "/x", {}, b"{}"))]
            return await Attack(server, shots, Course(0, 1.0, window_s=0.1), connections).run()

    found = findings(uvloop.run(scenario()), f"{connections} connections, closed loop", 0.1, bound=False)
    return found | {"server": SERVER}


def shown(folder, text):
    """(the picture, what the page complained of)."""
    file, picture = folder / "run.html", folder / "run.png"
    file.write_text(text)
    alone = ["--host-resolver-rules=MAP * ~NOTFOUND", "--no-first-run", "--disable-background-networking"]
    box = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder / 'profile'}"]
    log = ["--enable-logging=stderr", f"--window-size={SIZE[0]},{SIZE[1]}", f"--screenshot={picture}"]
    line = [CHROMIUM, *box, *alone, *log, file.as_uri()]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=True)
    return picture, [said for said in done.stderr.splitlines() if "CONSOLE" in said or "ERR_" in said]


pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH")


@pytest.mark.parametrize("counts", [(4,), (1, 2, 4, 8)])
def test_the_page_is_drawn_offline_and_without_complaint(tmp_path, counts):
    image = pytest.importorskip("PIL.Image")
    picture, complaints = shown(tmp_path, page("http://x:1", [run(count) for count in counts]))
    assert complaints == []
    with image.open(picture) as drawn:
        assert drawn.size == SIZE
        colours = {colour[:3]: count for count, colour in drawn.getcolors(SIZE[0] * SIZE[1])}
    for wanted in COLOURS[:2]:
        rgb = tuple(int(wanted[at : at + 2], 16) for at in (1, 3, 5))
        assert colours.get(rgb, 0) > 100, f"no line of {wanted}"


def test_a_page_with_a_fault_would_be_noticed(tmp_path):
    _, complaints = shown(tmp_path, "<script>nothing()</script>")
    assert "nothing is not defined" in complaints[0]
