import tempfile
from pathlib import Path

import pytest

from headrace.cache import cache_folder


@pytest.mark.parametrize(
    ("configured", "environment", "expected"),
    [
        (Path("here"), {"XDG_CACHE_HOME": "/x"}, "here"),
        (None, {"XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/headrace"),
        (None, {"XDG_CACHE_HOME": "relative", "HOME": "/h"}, "/h/.cache/headrace"),
        (None, {"HOME": "/h"}, "/h/.cache/headrace"),
        (None, {}, f"{tempfile.gettempdir()}/headrace"),
    ],
)
def test_the_cache_is_where_it_is_configured_or_the_users_own(configured, environment, expected):
    assert cache_folder(configured, environment) == Path(expected)
