import datetime

import pytest

from model_repo.remote.marks import mark, same

NOON = datetime.datetime(2026, 1, 2, 12, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({"ETag": '"abc-2"', "size": 5, "LastModified": NOON}, "etag abc-2 5"),  # S3
        ({"etag": "CJ+g=", "md5Hash": "x==", "size": 5, "updated": NOON}, "etag CJ+g= 5"),  # Google Cloud Storage
        ({"etag": "0x8D", "size": 5, "content_settings": {}}, "etag 0x8D 5"),  # Azure
        ({"ETag": 'W/"abc"', "size": 5}, "etag abc 5"),
        ({"ETag": None, "Last-Modified": "Fri, 02 Jan 2026", "size": 5}, "last_modified Fri, 02 Jan 2026 5"),
        ({"mtime": 12.5, "created": 13.5, "size": 5}, "mtime 12.5 5"),  # a folder
        ({"created": NOON, "size": 5}, "created 2026-01-02 12:00:00+00:00 5"),  # memory
        ({"Content-MD5": b"\x01\xff", "size": 5}, "content_md5 01ff 5"),
        ({"size": 5, "name": "x"}, "size 5"),
    ],
)
def test_the_strongest_word_that_a_storage_has_for_a_state_is_its_mark(info, expected):
    assert mark(info) == expected


def test_marks_without_a_tag_in_common_are_compared_by_size():
    assert same("created 1795541270.1 5", "created 2026-11-24 17:27:50.1+00:00 5")
    assert same("etag abc 5", "etag abc 5")
    assert not same("etag abc 5", "etag abd 5")
    assert same("etag abc 5", "mtime 1.0 5")
    assert not same("etag abc 5", "mtime 1.0 6")
    assert not same("size 5", "size 6")
