"""Addresses."""

import pytest

from loadtest.where import Where, parse, parse_header


@pytest.mark.parametrize(
    ("url", "where", "written"),
    [
        ("localhost", Where("http", "localhost", 80), "http://localhost:80"),
        ("http://h:8000/", Where("http", "h", 8000), "http://h:8000"),
        ("https://h", Where("https", "h", 443), "https://h:443"),
        ("grpc://h", Where("grpc", "h", 8001), "grpc://h:8001"),
        ("http://[::1]:9", Where("http", "::1", 9), "http://[::1]:9"),
        ("h:1/a/b?c=d e#f", Where("http", "h", 1, "/a/b?c=d%20e"), "http://h:1"),
        ("h:1/né%20e", Where("http", "h", 1, "/n%C3%A9%20e"), "http://h:1"),
    ],
)
def test_a_url_is_an_address_and_what_is_asked_there(url, where, written):
    assert parse(url) == where
    assert parse(url).url == written


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://", "names no host"),
        ("http://h:x", "is not a URL"),
        ("ws://h", "expected http"),
        ("grpc://h/x", "no paths"),
    ],
)
def test_what_is_no_address_is_a_sentence(url, said):
    with pytest.raises(ValueError, match=said):
        parse(url)


def test_a_header_is_a_name_and_a_value():
    assert parse_header("Authorization:  Bearer a:b ") == ("authorization", "Bearer a:b")
    for text in ("nothing", ": x", "a: b\r\nc: d"):
        with pytest.raises(ValueError, match="expected NAME: VALUE"):
            parse_header(text)
