"""The image as it lies in the engine's store: what it says of itself."""

import json

import pytest
from containers import engine

from headrace import __version__

LIMIT_MB = 450


@pytest.fixture(scope="module")
def told(image):
    return json.loads(engine("image", "inspect", image))[0]


def test_it_is_slim(told, capsys):
    megabytes = told["Size"] / 1e6
    with capsys.disabled():
        print(f"\nimage: {megabytes:.0f} MB uncompressed, with the base")
    assert megabytes <= LIMIT_MB


def test_its_user_is_a_number_other_than_root(told):
    """A name tells Kubernetes nothing: runAsNonRoot refuses it."""
    user = told["Config"]["User"].partition(":")[0]
    assert int(user) > 0


def test_it_says_which_version_it_is_and_under_which_licence(told):
    labels = told["Config"]["Labels"]
    assert labels["org.opencontainers.image.version"] == __version__
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.revision"]


def test_it_is_stopped_by_sigterm_and_looked_after_by_the_command_line(told):
    assert told["Config"]["StopSignal"] in ("SIGTERM", "15")
    check = told["Config"].get("Healthcheck") or told["Healthcheck"]
    assert check["Test"] == ["CMD", "headrace", "health"]
    assert {"8000/tcp", "8001/tcp"} <= set(told["Config"]["ExposedPorts"])
