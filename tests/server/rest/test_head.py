"""The headers that matter to infer, and those that must not be guessed at."""

import pytest

from headrace.errors import BadRequest, UnsupportedMedia
from server.rest.head import Head, read_head


def test_head_without_headers_says_nothing():
    assert read_head([]) == Head()


def test_headers_that_do_not_matter_are_passed_over():
    assert read_head([(b"host", b"x"), (b"connection", b"keep-alive"), (b"x-request-id", b"\xff")]) == Head()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (b"content-length", b"17", Head(content_length=17)),
        (b"content-length", b"0", Head(content_length=0)),
        (b"inference-header-content-length", b"0", Head(header_length=0)),
        (b"inference-header-content-length", b"123", Head(header_length=123)),
        (b"accept-encoding", b"gzip, br", Head(accept_encoding=b"gzip, br")),
        (b"headrace-sticky", b" user 1 ", Head(sticky="user 1")),
        (b"headrace-sticky", b"\xe9", Head(sticky="\xe9")),
        (b"headrace-sticky", b"", Head()),
        (b"headrace-timeout-ms", b" 1.5 ", Head(timeout_us=1500)),
        (b"content-encoding", b"gzip", Head(content_encoding=b"gzip", unusual=True)),
        (b"transfer-encoding", b"chunked", Head(unusual=True)),
        (b"expect", b"100-continue", Head(unusual=True)),
        (b"upgrade", b"h2c", Head(unusual=True)),
        *((b"content-type", value, Head()) for value in (b"", b"application/json", b"application/octet-stream")),
        (b"content-type", b"application/json; charset=utf-8", Head()),
        (b"content-type", b"Application/JSON", Head()),
        (b"content-type", b"application/x-www-form-urlencoded", Head()),
        (b"content-type", b"text/plain;charset=UTF-8", Head()),
    ],
)
def test_header_is_read(name, value, expected):
    assert read_head([(name, value)]) == expected


@pytest.mark.parametrize("header", ["Content-Length", "Inference-Header-Content-Length"])
@pytest.mark.parametrize("value", ["", "abc", "-1", "+1", "1.0", "0x10", "1e3", " 1", "1,1", "²", "1" * 19])
def test_length_that_is_no_number_is_refused_by_name(header, value):
    with pytest.raises(BadRequest, match=f"^{header} is a number of bytes, found '{value[:40].replace('+', '.')}'$"):
        read_head([(header.lower().encode(), value.encode("latin-1"))])


@pytest.mark.parametrize("value", ["text/csv", "multipart/form-data; boundary=x", "application/jsonx", "é", "x" * 1000])
def test_content_type_that_is_not_spoken_is_refused_with_those_that_are(value):
    with pytest.raises(UnsupportedMedia, match="is not supported; send application/json, or application/octet-stream"):
        read_head([(b"content-type", value.encode("latin-1"))])
