import re

import pytest

from model_repo.remote.address import folder_name, shown


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("s3://bucket/models", "s3://bucket/models"),
        ("https://me:secret@host/a@b", "https://host/a@b"),
        ("https://host/a?X-Signature=secret", "https://host/a"),
    ],
)
def test_secrets_in_a_url_are_not_shown(url, expected):
    assert shown(url) == expected


def test_a_copy_has_a_readable_folder_of_its_own():
    assert re.fullmatch(r"s3-bucket-my-models-[0-9a-f]{12}", folder_name("s3://bucket/my models/"))
    assert folder_name("s3://bucket/m") == folder_name("s3://bucket/m/")
    assert len({folder_name(url) for url in ("s3://b/m-n", "s3://b/m/n", "gs://b/m/n", "s3://b/m?n")}) == 4
    assert "secret" not in folder_name("https://me:secret@host/")


@pytest.mark.parametrize("url", ["s3://" + "x/" * 500, "s3://../../..", "s3://ä/\udc80/\n"])
def test_any_url_gives_the_name_of_one_folder(url):
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]{0,90}", folder_name(url))
