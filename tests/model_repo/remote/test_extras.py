import sys

import pytest

from headrace.errors import ConfigError
from model_repo.remote import extras


@pytest.mark.parametrize("url", ["s3://b", "https://h", "memory://x"])
def test_what_is_installed_raises_no_objection(url):
    extras.check(url)


@pytest.mark.parametrize(
    ("url", "missing", "sentence"),
    [
        ("s3://b/x", "fsspec", r"s3://b/x needs fsspec, which is not installed: pip install 'headrace\[s3\]'"),
        ("ftp://h/x", "fsspec", r"needs fsspec, .*'headrace\[remote\]'"),
        (
            "gs://b/x",
            "gcsfs",
            r"gs://b/x needs a library that is not installed: pip install 'headrace\[gcs\]'",
        ),
        ("az://b/x", "adlfs", r"pip install 'headrace\[azure\]'"),
    ],
)
def test_a_missing_extra_is_one_sentence_that_says_what_to_install(url, missing, sentence, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ConfigError, match=sentence):
        extras.check(url)


def test_a_protocol_that_does_not_exist_is_named():
    with pytest.raises(ConfigError, match="s4://b/x: there is no protocol 's4'"):
        extras.check("s4://b/x")
