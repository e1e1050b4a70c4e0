"""gzip and deflate: unpacked up to a limit, packed when the client wants it."""

import contextlib
import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import BadRequest, ServingError, TooLarge, UnsupportedMedia
from server.rest.coding import WORTH_BYTES, pack, unpack

PLAIN = b'{"inputs":[]}' * 10
LARGE = bytes(WORTH_BYTES)


def raw_deflate(data):
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


PACKED = {"gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress}
WAYS = [*PACKED.items(), ("deflate", raw_deflate), (" GZip ", gzip.compress)]


@pytest.mark.parametrize(("coding", "compress"), WAYS)
def test_packed_body_is_unpacked(coding, compress):
    assert unpack(compress(PLAIN), coding.encode(), 1000) == PLAIN
    assert unpack(compress(b""), coding.encode(), 1000) == b""


@pytest.mark.parametrize("coding", [b"", b"identity", b" Identity "])
def test_plain_body_is_left_alone(coding):
    assert unpack(PLAIN, coding, 1) is PLAIN


@pytest.mark.parametrize(("coding", "compress"), WAYS)
def test_body_may_unpack_to_the_limit_and_not_a_byte_more(coding, compress):
    assert len(unpack(compress(bytes(1000)), coding.encode(), 1000)) == 1000
    with pytest.raises(TooLarge, match=r"unpacks to more than 1000 bytes \(max_body_bytes\)"):
        unpack(compress(bytes(1001)), coding.encode(), 1000)


@pytest.mark.parametrize(("coding", "compress"), WAYS)
def test_bomb_is_refused_without_being_unpacked(coding, compress):
    with pytest.raises(TooLarge):
        unpack(compress(bytes(50_000_000)), coding.encode(), 10_000)


@pytest.mark.parametrize(("coding", "compress"), WAYS)
def test_body_that_is_cut_off_is_refused(coding, compress):
    whole = compress(PLAIN)
    for length in range(len(whole)):
        with pytest.raises(BadRequest, match=r"cut off|not valid"):
            unpack(whole[:length], coding.encode(), 1000)


@pytest.mark.parametrize(("coding", "compress"), WAYS)
def test_bytes_after_the_end_are_refused(coding, compress):
    with pytest.raises(BadRequest, match="3 bytes follow the end of the"):
        unpack(compress(PLAIN) + b"abc", coding.encode(), 1000)


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "gzip;q=1", "é", "x" * 1000])
def test_other_coding_is_unsupported_and_named(coding):
    with pytest.raises(UnsupportedMedia, match="gzip, deflate and identity are") as refusal:
        unpack(PLAIN, coding.encode("latin-1"), 1000)
    assert coding[:40] in str(refusal.value)


@given(st.binary(max_size=200), st.sampled_from([b"gzip", b"deflate", b"identity", b"br"]))
def test_any_bytes_are_unpacked_or_a_serving_error(body, coding):
    with contextlib.suppress(ServingError):
        assert len(unpack(body, coding, 10_000)) <= 10_000


@pytest.mark.parametrize(
    ("accept", "body", "coding"),
    [
        (b"gzip", PLAIN, b"gzip"),
        (b"deflate", PLAIN, b"deflate"),
        (b"GZIP", PLAIN, b"gzip"),
        (b"gzip;q=0.5", PLAIN, b"gzip"),
        (b"gzip;q=0", LARGE, b""),
        (b"gzip; q=0.0", LARGE, b""),
        (b"gzip;q=0, deflate", PLAIN, b"deflate"),
        (b"identity", LARGE, b""),
        (b"br", LARGE, b""),
        (b"gzip, deflate", PLAIN, b""),
        (b"gzip, deflate", LARGE, b"gzip"),
        (b"deflate, gzip", LARGE, b"deflate"),
        (b"br, gzip, *", LARGE, b"gzip"),
        (b"", LARGE, b""),
        (b",,;;", LARGE, b""),
    ],
)
def test_answer_is_packed_if_asked_for_or_worth_it(accept, body, coding):
    packed, found = pack(body, accept)
    assert found == coding
    assert (unpack(packed, coding, 1 << 20) if coding else packed) == body


def test_packed_answer_is_the_same_bytes_every_time():
    assert pack(PLAIN, b"gzip") == pack(PLAIN, b"gzip")
