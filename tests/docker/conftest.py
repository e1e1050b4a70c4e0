import shutil

import containers
import pytest


@pytest.fixture(scope="session")
def image():
    """The name of the image under test; without an engine the test is skipped."""
    if not containers.ENGINE:
        pytest.skip(containers.NONE)
    return containers.IMAGE


@pytest.fixture
def digits(tmp_path):
    """A repository with the digits model, that any user may read."""
    repository = tmp_path / "models"
    shutil.copytree(containers.DIGITS, repository / "digits")
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    return repository
