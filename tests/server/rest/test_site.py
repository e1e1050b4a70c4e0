"""Which URLs take the short cut, and which heads are remembered."""

import pytest

from server.memory import MOST
from server.rest.head import Head
from server.rest.site import _LARGEST_KNOWN_HEAD, Site, Target


async def app(scope, receive, send):
    raise AssertionError("nothing is served here")


@pytest.fixture
def site():
    return Site(None, app, max_body_bytes=1024, receive_timeout_s=1.0, keep_alive_s=1.0)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        (b"/v2/models/digits/infer", ("digits", "")),
        (b"/v2/models/digits/versions/3/infer", ("digits", "3")),
        (b"/v2/models/a_b.c-d/versions/007/infer", ("a_b.c-d", "007")),
        (b"/v2/models/digits/versions/canary/infer", ("digits", "canary")),
        (b"/v2/models/digits/versions/_v1.2-rc/infer", ("digits", "_v1.2-rc")),
        (b"/v2/models/../infer", ("..", "")),
    ],
)
def test_plain_infer_url_has_a_target(site, url, target):
    assert site.target(url) == Target(*target)
    assert site.target(url) == Target(*target)


@pytest.mark.parametrize(
    "url",
    [
        b"",
        b"/",
        b"*",
        b"/v2",
        b"/v2/models/digits",
        b"/v2/models/digits/infer/",
        b"/v2/models/digits/infer?x=1",
        b"/v2/models/digits/infer#x",
        b"/v2/models//infer",
        b"/v2/models/a/b/infer",
        b"/v2/models/a%20b/infer",
        b"/v2/models/..%2f/infer",
        b"/v2/models/\xc3\xa4/infer",
        b"/v2/models/digits/versions//infer",
        b"/v2/models/digits/versions/-1/infer",
        b"/v2/models/digits/versions/.hidden/infer",
        b"/v2/models/digits/versions/can%61ry/infer",
        b"/v2/models/digits/versions/3x/infer",
        b"/v2/models/digits/versions/" + b"x" * 65 + b"/infer",
        b"/v2/models/digits/versions/1111111111111111111/infer",
        b"/V2/models/digits/infer",
        b"//v2/models/digits/infer",
        b"http://host/v2/models/digits/infer",
        b"/v2/models/digits/infer\n",
    ],
)
def test_every_other_url_goes_the_long_way(site, url):
    assert site.target(url) is None


def test_head_is_remembered_with_the_length_of_the_whole_request(site):
    raw, target, head = b"POST / HTTP/1.1\r\n\r\n", Target("m", ""), Head(content_length=5)
    site.learn(raw, target, head)
    assert site.heads[raw] == (target, head, len(raw) + 5)


@pytest.mark.parametrize("head", [Head(), Head(content_length=0)])
def test_head_without_a_body_is_not_remembered(site, head):
    site.learn(b"x", Target("m", ""), head)
    assert not site.heads


def test_large_head_is_not_remembered(site):
    site.learn(bytes(_LARGEST_KNOWN_HEAD + 1), Target("m", ""), Head(content_length=1))
    assert not site.heads


def test_heads_and_urls_made_up_by_someone_take_bounded_memory(site):
    for index in range(MOST + 10):
        target = site.target(b"/v2/models/m%d/infer" % index)
        site.learn(b"%d" % index, target, Head(content_length=1))
    assert len(site.heads) <= MOST
    assert len(site._targets) <= MOST
    assert site.target(b"/v2/models/m1/infer") == Target("m1", "")


def test_tick_moves_clock_and_date(site):
    site.tick(5.0)
    assert site.now == 5.0
    assert site.date.endswith(b" GMT")
    assert site.state.default_headers == [(b"date", site.date)]
