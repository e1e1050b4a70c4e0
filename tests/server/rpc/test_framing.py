"""Length-prefixed messages: whole however they are cut, refused as early as can be, unpacked when they are taken."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import BadRequest, TooLarge
from server.rpc.framing import UNPACKERS, Messages, prefix
from server.rpc.status import RpcError


def reader(packing=b"identity", limit=1000):
    return Messages(limit, UNPACKERS[packing])


def packed(data):
    return b"\1" + len(data).to_bytes(4, "big") + data


@given(st.lists(st.binary(max_size=30), max_size=8), st.lists(st.integers(1, 20), min_size=1))
def test_messages_come_whole_however_they_are_cut(messages, cuts):
    data, found, at, turn = b"".join(prefix(each) + each for each in messages), [], 0, 0
    read = reader()
    while at < len(data):
        step = cuts[turn % len(cuts)]
        found += read.feed(data[at : at + step])
        at, turn = at + step, turn + 1
    assert [read.unpacked(each) for each in found] == messages
    assert sum(each.size for each in found) == len(data)
    assert not read.partial


def test_how_much_is_missing_is_known_with_the_prefix():
    read = reader()
    assert list(read.feed(prefix(bytes(100))[:4])) == []
    assert (read.missing, read.partial) == (0, True)
    assert list(read.feed(prefix(bytes(100))[4:] + bytes(10))) == []
    assert read.missing == 90


@pytest.mark.parametrize(("packing", "pack"), [(b"gzip", gzip.compress), (b"deflate", zlib.compress)])
def test_packed_messages_are_unpacked_when_they_are_taken(packing, pack):
    read = reader(packing)
    first, second = read.feed(packed(pack(b"hello" * 50)) + prefix(b"plain") + b"plain")
    assert len(first.data) < 50
    assert (read.unpacked(first), read.unpacked(second)) == (b"hello" * 50, b"plain")


def test_a_message_beyond_the_limit_is_refused_by_its_prefix():
    with pytest.raises(TooLarge, match=r"1001 bytes.*1000.*max_body_bytes"):
        list(reader().feed(prefix(bytes(1001))))


def test_a_message_that_unpacks_beyond_the_limit_is_refused():
    read = reader(b"gzip")
    (sent,) = read.feed(packed(gzip.compress(bytes(100_000))))
    with pytest.raises(TooLarge, match="1000"):
        read.unpacked(sent)


@pytest.mark.parametrize("data", [b"nonsense", gzip.compress(b"hello")[:-9], b""])
def test_what_cannot_be_unpacked_is_the_clients_error(data):
    read = reader(b"gzip")
    (sent,) = read.feed(packed(data))
    with pytest.raises(BadRequest, match="cannot be unpacked"):
        read.unpacked(sent)


def test_packed_without_a_word_how_is_an_error():
    read = reader()
    (sent,) = read.feed(packed(b"what?"))
    with pytest.raises(RpcError, match="do not say how"):
        read.unpacked(sent)


def test_a_flag_that_nobody_knows_is_an_error():
    with pytest.raises(RpcError, match="found 2"):
        list(reader().feed(b"\2\0\0\0\0"))
