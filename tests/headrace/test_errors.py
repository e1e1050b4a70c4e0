import re

import pytest

from headrace import errors
from headrace.errors import SLUGS, ConfigError, Overloaded, ServingError

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ServingError)]


def test_no_two_kinds_share_a_slug():
    assert len({kind.slug for kind in KINDS}) == len(KINDS) == 17


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_says_its_slug_itself(kind):
    assert "slug" in vars(kind)
    assert re.fullmatch("[a-z]+(_[a-z]+)*", kind.slug)


def test_every_kind_that_can_end_a_request_has_a_place_in_the_counters():
    assert set(SLUGS) == {kind.slug for kind in KINDS} - {ConfigError.slug, Overloaded.slug}
    assert len(SLUGS) == len(set(SLUGS))


@pytest.mark.parametrize("kind", KINDS)
def test_the_message_is_the_whole_text(kind):
    assert str(kind("model 'm' wants a, found b")) == "model 'm' wants a, found b"
