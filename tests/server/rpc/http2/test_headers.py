"""Header blocks: equal blocks are read once while the table is the same, and what they unpack to is bounded."""

import pytest
from hpack import Decoder, Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from server.rpc.http2.errors import Code, ConnectionFault
from server.rpc.http2.headers import MAX_LIST_BYTES, MOST_KNOWN, NO_TABLE, Block, Blocks

names = st.sampled_from([b":path", b"a", b"content-type", b"x-long-name", b"te"])
values = st.binary(max_size=40)
header_lists = st.lists(st.tuples(names, values), max_size=8)


def literal(name, value):
    return b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value


@given(st.lists(st.tuples(header_lists, st.booleans()), max_size=30))
def test_known_blocks_mean_what_reading_them_would(requests):
    """A client that resizes its table now and then."""
    encoder, blocks = Encoder(), Blocks(list)
    for headers, resize in requests:
        if resize:
            encoder.header_table_size = 64 if encoder.header_table_size > 64 else 4096
        block = encoder.encode(headers)
        known = blocks.known.get(block)
        if known is None:
            assert blocks.read(block) == headers
        else:
            assert known == headers
        for sure in list(blocks.known):
            again = Decoder()
            again.header_table.dynamic_entries = blocks._table.dynamic_entries.copy()
            assert [tuple(each) for each in again.decode(sure, raw=True)] == blocks.known[sure]


def test_a_block_that_only_names_what_is_known_is_read_once():
    calls = []
    blocks, encoder = Blocks(calls.append), Encoder()
    for _ in range(3):
        block = encoder.encode([(b"some", b"thing")])
        if block not in blocks.known:
            blocks.read(block)
    assert len(calls) == 2, "once to put it into the table, once to name it there"


def test_a_block_that_changes_the_table_makes_all_unknown():
    blocks, encoder = Blocks(list), Encoder()
    for _ in range(2):
        blocks.read(encoder.encode([(b"some", b"thing")]))
    assert blocks.known
    blocks.read(encoder.encode([(b"other", b"thing")]))
    assert not blocks.known


def test_what_is_known_is_bounded():
    blocks = Blocks(list)
    for at in range(3 * MOST_KNOWN):
        blocks.read(literal(b"timeout", b"%d" % at))
        assert len(blocks.known) <= MOST_KNOWN
    blocks.known.clear()
    for _ in range(2):
        blocks.read(literal(b"a", b"x" * 120) * 20)
    assert not blocks.known, "too long to be kept"


def test_a_bomb_ends_the_connection():
    """4 KB of header, named by one byte each time."""
    blocks = Blocks(list)
    blocks.read(Encoder().encode([(b"a", b"x" * 4000)]))
    with pytest.raises(ConnectionFault) as fault:
        blocks.read(b"\xbe" * 100)
    assert fault.value.code is Code.ENHANCE_YOUR_CALM
    assert MAX_LIST_BYTES < 4000 * 100


@settings(max_examples=300)
@given(st.lists(st.binary(max_size=120), max_size=5))
def test_whatever_comes_is_headers_or_a_fault(blobs):
    blocks = Blocks(list)
    for blob in blobs:
        try:
            blocks.read(blob)
        except ConnectionFault as fault:
            assert fault.code in (Code.COMPRESSION_ERROR, Code.ENHANCE_YOUR_CALM)
            break


@given(header_lists.map(lambda headers: [(b":status", b"200"), *headers]), st.binary(max_size=300), st.booleans())
def test_our_blocks_are_read_by_others_and_use_no_table(headers, long, ends):
    headers.append((b"long", long))
    decoder = Decoder()
    frame = Block(headers, ends=ends).frame(7, NO_TABLE)
    assert int.from_bytes(frame[:3], "big") == len(frame) - 9
    assert frame[3:9] == bytes((1, 4 | ends, 0, 0, 0, 7))
    assert [tuple(each) for each in decoder.decode(frame[9:], raw=True)] == headers
    assert decoder.header_table_size == 0
    assert not decoder.header_table.dynamic_entries
    assert len(Block(headers).frame(7)) == len(frame) - 1
