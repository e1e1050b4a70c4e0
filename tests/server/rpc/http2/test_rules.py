"""The rules of RFC 9113 that a client can break, one by one, and what it hears then; and those it may use."""

import pytest
from http2_peer import REQUEST, Peer, asked, body, interpreter, reset
from http2_peer import Silent as SilentStream

from server.rpc.http2 import frames
from server.rpc.http2.connection import MAX_STREAMS
from server.rpc.http2.errors import Code
from server.rpc.http2.frames import frame, window_update
from server.rpc.http2.settings import MAX_WINDOW, WINDOW

PRIORITY = (0).to_bytes(4, "big") + b"\x10"
DATA, HEADERS = frames.DATA, frames.HEADERS


def depends_on(stream):
    return stream.to_bytes(4, "big") + b"\x10"


def without(name):
    return [each for each in REQUEST if each[0] != name]


def opened(peer):
    return peer.headers(1)


def half_closed(peer):
    return peer.headers(1, ends=True)


# What is said after the greetings, and the code of the GOAWAY that follows. RFC 9113 unless it says 7541.
ENDS_THE_CONNECTION = {
    "4.2 a frame beyond MAX_FRAME_SIZE": (lambda p: opened(p) + body(1, bytes(16385)), Code.FRAME_SIZE_ERROR),
    "4.2 headers beyond MAX_FRAME_SIZE": (lambda p: frame(HEADERS, 4, 1, bytes(16385)), Code.FRAME_SIZE_ERROR),
    "4.3 what is no header block": (lambda p: frame(HEADERS, 4, 1, b"\xff" * 6), Code.COMPRESSION_ERROR),
    "4.3 a block cut off": (lambda p: frame(HEADERS, 4, 1, p.block()[:-1] + b"\x40"), Code.COMPRESSION_ERROR),
    "4.3 PRIORITY within a block": (
        lambda p: frame(HEADERS, 0, 1, p.block()) + frame(frames.PRIORITY, 0, 1, PRIORITY),
        Code.PROTOCOL_ERROR,
    ),
    "4.3 HEADERS of another stream within a block": (
        lambda p: frame(HEADERS, 0, 1, p.block()) + p.headers(3),
        Code.PROTOCOL_ERROR,
    ),
    "5.1 DATA on an idle stream": (lambda p: body(1), Code.PROTOCOL_ERROR),
    "5.1 RST_STREAM on an idle stream": (lambda p: reset(1), Code.PROTOCOL_ERROR),
    "5.1 WINDOW_UPDATE on an idle stream": (lambda p: window_update(1, 9), Code.PROTOCOL_ERROR),
    "5.1 CONTINUATION on an idle stream": (lambda p: frame(frames.CONTINUATION, 4, 1, p.block()), Code.PROTOCOL_ERROR),
    "5.1 CONTINUATION on a half-closed stream": (
        lambda p: half_closed(p) + frame(frames.CONTINUATION, 4, 1, p.block()),
        Code.PROTOCOL_ERROR,
    ),
    "5.1 HEADERS on a closed stream": (lambda p: p.call(1) + p.headers(1, ends=True), Code.STREAM_CLOSED),
    "5.1.1 an even stream": (lambda p: p.headers(2), Code.PROTOCOL_ERROR),
    "5.1.1 a stream below the latest": (lambda p: p.headers(5) + p.headers(3), Code.STREAM_CLOSED),
    "5.3.1 PRIORITY of an idle stream on itself": (
        lambda p: frame(frames.PRIORITY, 0, 1, depends_on(1)),
        Code.PROTOCOL_ERROR,
    ),
    "5.5 an unknown frame within a block": (
        lambda p: frame(HEADERS, 0, 1, p.block()) + frame(0xEE, 0, 0, b"?"),
        Code.PROTOCOL_ERROR,
    ),
    "6.1 DATA without a stream": (lambda p: body(0), Code.PROTOCOL_ERROR),
    "6.1 padding as long as the frame": (
        lambda p: opened(p) + frame(DATA, frames.PADDED, 1, b"\x06hello"),
        Code.PROTOCOL_ERROR,
    ),
    "6.1 padded without a byte for it": (lambda p: opened(p) + frame(DATA, frames.PADDED, 1), Code.FRAME_SIZE_ERROR),
    "6.2 HEADERS without a stream": (lambda p: p.headers(0), Code.PROTOCOL_ERROR),
    "6.2 headers padded by more than there is": (
        lambda p: frame(HEADERS, 4 | frames.PADDED, 1, b"\xff" + p.block()),
        Code.PROTOCOL_ERROR,
    ),
    "6.2 headers with half a priority": (
        lambda p: frame(HEADERS, 4 | frames.PRIORITIZED, 1, b"\0\0"),
        Code.FRAME_SIZE_ERROR,
    ),
    "6.3 PRIORITY without a stream": (lambda p: frame(frames.PRIORITY, 0, 0, PRIORITY), Code.PROTOCOL_ERROR),
    "6.3 PRIORITY of another size": (lambda p: frame(frames.PRIORITY, 0, 1, b"\0" * 4), Code.FRAME_SIZE_ERROR),
    "6.4 RST_STREAM without a stream": (lambda p: reset(0), Code.PROTOCOL_ERROR),
    "6.4 RST_STREAM of another size": (
        lambda p: opened(p) + frame(frames.RST_STREAM, 0, 1, b"\0" * 3),
        Code.FRAME_SIZE_ERROR,
    ),
    "6.5 an acknowledgement with a payload": (
        lambda p: frame(frames.SETTINGS, frames.ACK, 0, b"\0" * 6),
        Code.FRAME_SIZE_ERROR,
    ),
    "6.5 SETTINGS of a stream": (lambda p: frame(frames.SETTINGS, 0, 1), Code.PROTOCOL_ERROR),
    "6.5 half a setting": (lambda p: frame(frames.SETTINGS, 0, 0, b"\0" * 5), Code.FRAME_SIZE_ERROR),
    "6.5.2 ENABLE_PUSH 2": (lambda p: asked(enable_push=2), Code.PROTOCOL_ERROR),
    "6.5.2 INITIAL_WINDOW_SIZE too large": (lambda p: asked(initial_window_size=2**31), Code.FLOW_CONTROL_ERROR),
    "6.5.2 MAX_FRAME_SIZE too small": (lambda p: asked(max_frame_size=16383), Code.PROTOCOL_ERROR),
    "6.5.2 MAX_FRAME_SIZE too large": (lambda p: asked(max_frame_size=2**24), Code.PROTOCOL_ERROR),
    "6.6 PUSH_PROMISE from a client": (lambda p: frame(frames.PUSH_PROMISE, 4, 1, b"\0" * 4), Code.PROTOCOL_ERROR),
    "6.7 PING of a stream": (lambda p: frame(frames.PING, 0, 1, b"\0" * 8), Code.PROTOCOL_ERROR),
    "6.7 PING of another size": (lambda p: frame(frames.PING, 0, 0, b"\0" * 7), Code.FRAME_SIZE_ERROR),
    "6.8 GOAWAY of a stream": (lambda p: frame(frames.GOAWAY, 0, 1, b"\0" * 8), Code.PROTOCOL_ERROR),
    "6.8 GOAWAY too short": (lambda p: frame(frames.GOAWAY, 0, 0, b"\0" * 7), Code.FRAME_SIZE_ERROR),
    "6.9 WINDOW_UPDATE by nothing": (lambda p: window_update(0, 0), Code.PROTOCOL_ERROR),
    "6.9 WINDOW_UPDATE of another size": (
        lambda p: frame(frames.WINDOW_UPDATE, 0, 0, b"\0" * 3),
        Code.FRAME_SIZE_ERROR,
    ),
    "6.9.1 a connection's window beyond the largest": (lambda p: window_update(0, MAX_WINDOW), Code.FLOW_CONTROL_ERROR),
    "6.9.2 a stream's window beyond the largest": (
        lambda p: opened(p) + window_update(1, 9) + asked(initial_window_size=MAX_WINDOW),
        Code.FLOW_CONTROL_ERROR,
    ),
    "6.10 CONTINUATION without a stream": (lambda p: frame(frames.CONTINUATION, 4, 0, b""), Code.PROTOCOL_ERROR),
    "6.10 CONTINUATION after END_HEADERS": (
        lambda p: opened(p) + frame(frames.CONTINUATION, 4, 1, p.block()),
        Code.PROTOCOL_ERROR,
    ),
    "6.10 CONTINUATION of another stream": (
        lambda p: frame(HEADERS, 0, 1, p.block()) + frame(frames.CONTINUATION, 4, 3, b""),
        Code.PROTOCOL_ERROR,
    ),
    "7541 2.3.3 index 0": (lambda p: frame(HEADERS, 4, 1, b"\x80"), Code.COMPRESSION_ERROR),
    "7541 2.3.3 an index beyond the table": (lambda p: frame(HEADERS, 4, 1, b"\xff\x7f"), Code.COMPRESSION_ERROR),
    "7541 4.2 a table size after a header": (lambda p: frame(HEADERS, 4, 1, b"\x82\x20"), Code.COMPRESSION_ERROR),
    "7541 5.2 Huffman padding of a whole byte": (
        lambda p: frame(HEADERS, 4, 1, b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff"),
        Code.COMPRESSION_ERROR,
    ),
    "7541 6.3 a table larger than is offered": (
        lambda p: frame(HEADERS, 4, 1, b"\x3f\xe2\x1f"),
        Code.COMPRESSION_ERROR,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("said", "code"), ENDS_THE_CONNECTION.values(), ids=ENDS_THE_CONNECTION)
def test_it_ends_the_connection(said, code):
    peer = Peer(interpreter(SilentStream) if said in (opened, half_closed) else None)
    heard = peer.say(said(peer)).heard()
    assert [each.code for each in heard if each.kind == frames.GOAWAY] == [code]
    assert heard[-1].kind == frames.GOAWAY
    assert peer.connection.over
    assert not peer.connection.streams
    assert not peer.say(frame(frames.PING, 0, 0, bytes(8))).heard(), "it is over"


# The same for a stream: the connection goes on.
RESETS_THE_STREAM = {
    "5.1 DATA on a half-closed stream": (lambda p: half_closed(p) + body(1), Code.STREAM_CLOSED),
    "5.1 HEADERS on a half-closed stream": (lambda p: half_closed(p) + p.headers(1, ends=True), Code.STREAM_CLOSED),
    "5.1 DATA after RST_STREAM": (lambda p: opened(p) + reset(1) + body(1), Code.STREAM_CLOSED),
    "5.3.1 HEADERS that depend on themselves": (
        lambda p: frame(HEADERS, 4 | frames.PRIORITIZED, 1, depends_on(1) + p.block()),
        Code.PROTOCOL_ERROR,
    ),
    "5.3.1 PRIORITY of an open stream on itself": (
        lambda p: opened(p) + frame(frames.PRIORITY, 0, 1, depends_on(1)),
        Code.PROTOCOL_ERROR,
    ),
    "6.9 WINDOW_UPDATE of a stream by nothing": (lambda p: opened(p) + window_update(1, 0), Code.PROTOCOL_ERROR),
    "6.9.1 a window beyond the largest": (lambda p: opened(p) + window_update(1, MAX_WINDOW), Code.FLOW_CONTROL_ERROR),
    "6.9.1 more than the window": (
        lambda p: opened(p) + body(1, bytes(16384)) * 16 + body(1, b'x'),
        Code.FLOW_CONTROL_ERROR,
    ),
    "8.1 a second HEADERS that does not end": (lambda p: opened(p) + p.headers(1), Code.PROTOCOL_ERROR),
    "8.1 control data in trailers": (lambda p: opened(p) + p.headers(1, ends=True), Code.PROTOCOL_ERROR),
    "8.2 a name with an upper-case letter": (lambda p: p.headers(1, [*REQUEST, (b"Name", b"x")]), Code.PROTOCOL_ERROR),
    "8.2 a name with a blank": (lambda p: p.headers(1, [*REQUEST, (b"na me", b"x")]), Code.PROTOCOL_ERROR),
    "8.2 no name": (lambda p: p.headers(1, [*REQUEST, (b"", b"x")]), Code.PROTOCOL_ERROR),
    "8.2 a value of two lines": (lambda p: p.headers(1, [*REQUEST, (b"name", b"x\r\ny")]), Code.PROTOCOL_ERROR),
    "8.2 a value with a zero": (lambda p: p.headers(1, [*REQUEST, (b"name", b"x\0")]), Code.PROTOCOL_ERROR),
    "8.2.2 connection": (lambda p: p.headers(1, [*REQUEST, (b"connection", b"close")]), Code.PROTOCOL_ERROR),
    "8.2.2 transfer-encoding": (
        lambda p: p.headers(1, [*REQUEST, (b"transfer-encoding", b"chunked")]),
        Code.PROTOCOL_ERROR,
    ),
    "8.2.2 te other than trailers": (lambda p: p.headers(1, [*REQUEST, (b"te", b"gzip")]), Code.PROTOCOL_ERROR),
    "8.3 unknown control data": (lambda p: p.headers(1, [*REQUEST, (b":test", b"x")]), Code.PROTOCOL_ERROR),
    "8.3 a response's control data": (lambda p: p.headers(1, [*REQUEST, (b":status", b"200")]), Code.PROTOCOL_ERROR),
    "8.3 control data behind headers": (lambda p: p.headers(1, [(b"a", b"b"), *REQUEST]), Code.PROTOCOL_ERROR),
    "8.3.1 no method": (lambda p: p.headers(1, without(b":method")), Code.PROTOCOL_ERROR),
    "8.3.1 no scheme": (lambda p: p.headers(1, without(b":scheme")), Code.PROTOCOL_ERROR),
    "8.3.1 no path": (lambda p: p.headers(1, without(b":path")), Code.PROTOCOL_ERROR),
    "8.3.1 an empty path": (lambda p: p.headers(1, [*without(b":path"), (b":path", b"")]), Code.PROTOCOL_ERROR),
    "8.3.1 two methods": (lambda p: p.headers(1, [*REQUEST[:1], *REQUEST]), Code.PROTOCOL_ERROR),
    "8.1.1 two lengths": (
        lambda p: p.headers(1, [*REQUEST, (b"content-length", b"1"), (b"content-length", b"2")]),
        Code.PROTOCOL_ERROR,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("said", "code"), RESETS_THE_STREAM.values(), ids=RESETS_THE_STREAM)
def test_it_resets_the_stream_and_no_other(said, code):
    peer = Peer(interpreter(SilentStream))
    streams = peer.connection.streams
    heard = peer.say(said(peer)).heard()
    assert [(each.stream, each.code) for each in heard if each.kind == frames.RST_STREAM] == [(1, code)]
    assert not streams
    peer.say(peer.headers(3))
    assert list(streams) == [3]
    assert not peer.connection.over


# What a client may do: the call is answered.
IS_ANSWERED = {
    "a call in one piece": lambda p: p.call(1),
    "4.1 an unknown type": lambda p: frame(0x16, 0xFF, 0, b"?" * 8) + p.call(1),
    "4.1 unknown flags": lambda p: frame(frames.PING, 0x16, 0, bytes(8)) + p.call(1),
    "4.1 the reserved bit": lambda p: p.headers(2**31 + 1) + body(2**31 + 1, ends=True),
    "4.2 a frame as long as may be": lambda p: opened(p) + body(1, bytes(16384)) + body(1, ends=True),
    "6.1 padding": lambda p: opened(p) + frame(DATA, frames.PADDED | 1, 1, b"\x06hello" + bytes(6)),
    "6.1 nothing but padding": lambda p: opened(p) + frame(DATA, frames.PADDED, 1, b"\1\0") + body(1, ends=True),
    "6.1 an empty end": lambda p: opened(p) + body(1) + body(1, b"", ends=True),
    "6.2 padded, with a priority": lambda p: padded(p, 1) + body(1, ends=True),
    "6.3 PRIORITY of an idle stream": lambda p: frame(frames.PRIORITY, 0, 7, PRIORITY) + p.call(1),
    "6.3 PRIORITY of a closed stream": lambda p: p.call(1) + frame(frames.PRIORITY, 0, 1, PRIORITY),
    "6.4 RST_STREAM of a closed stream": lambda p: p.call(1) + reset(1),
    "6.5.2 an unknown setting": lambda p: frame(frames.SETTINGS, 0, 0, b"\0\xffabcd") + p.call(1),
    "6.8 GOAWAY with an unknown code": lambda p: frame(frames.GOAWAY, 0, 0, bytes(4) + b"\0\0\0\xff") + p.call(1),
    "6.9 WINDOW_UPDATE of a closed stream": lambda p: p.call(1) + window_update(1, 9),
    "6.10 a block in parts": lambda p: in_parts(p, 1) + body(1, ends=True),
    "8.1 trailers": lambda p: opened(p) + body(1) + p.headers(1, [(b"the", b"end")], ends=True),
    "8.2.2 te: trailers": lambda p: p.headers(1, [*REQUEST, (b"te", b"trailers")]) + body(1, ends=True),
    "8.2 metadata with blanks around it": lambda p: p.headers(1, [*REQUEST, (b"key", b" x ")]) + body(1, ends=True),
    "streams may be left out": lambda p: p.headers(7) + p.call(9),
}  # fmt: skip


def padded(peer, stream):
    return frame(HEADERS, 0x2C, stream, b"\x03" + PRIORITY + peer.block() + bytes(3))


def in_parts(peer, stream):
    block = peer.block()
    parts = [frame(HEADERS, 0, stream, block[:1])]
    parts += [frame(frames.CONTINUATION, 0, stream, block[at : at + 9]) for at in range(1, len(block), 9)]
    return b"".join((*parts, frame(frames.CONTINUATION, 4, stream, b"")))


@pytest.mark.parametrize("said", IS_ANSWERED.values(), ids=IS_ANSWERED)
@pytest.mark.parametrize("at_a_time", [1, 7, 1 << 20], ids=["byte by byte", "in sevens", "at once"])
def test_it_is_answered_however_it_is_cut(said, at_a_time):
    peer = Peer()
    data = said(peer)
    for at in range(0, len(data), at_a_time):
        peer.say(data[at : at + at_a_time])
    assert not peer.connection.over
    assert len(peer.answers()) == 1


def test_the_greeting_says_what_is_taken():
    first, second = Peer().greeting[:2]
    assert (first.kind, first.payload) == (frames.SETTINGS, b"\0\3\0\0\2\0\0\4\0\4\0\0\0\6\0\0\x40\0")
    assert (second.kind, second.stream, int.from_bytes(second.payload, "big")) == (
        frames.WINDOW_UPDATE,
        0,
        MAX_WINDOW - WINDOW,
    )


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/1.0\r\n", b"\x16\x03\x01", b"\0" * 30])
def test_what_is_no_preface_ends_the_connection(said):
    peer = Peer(greeted=False)
    assert peer.say(said).heard()[0].code is Code.PROTOCOL_ERROR


def test_a_greeting_may_come_byte_by_byte():
    peer = Peer(greeted=False)
    for byte in frames.PREFACE + frame(frames.SETTINGS, 0, 0):
        peer.say(bytes((byte,)))
    assert [(each.kind, each.flags) for each in peer.heard()] == [(frames.SETTINGS, frames.ACK)]


@pytest.mark.parametrize("said", [frame(frames.PING, 0, 0, bytes(8)), frame(frames.SETTINGS, frames.ACK, 0)])
def test_settings_come_first(said):
    peer = Peer(greeted=False)
    assert peer.say(frames.PREFACE, said).heard()[0].code is Code.PROTOCOL_ERROR


def test_a_ping_comes_back_and_its_answer_does_not():
    peer = Peer()
    (pong,) = peer.say(frame(frames.PING, 0, 0, b"abcdefgh"), frame(frames.PING, frames.ACK, 0, b"12345678")).heard()
    assert (pong.kind, pong.flags, pong.payload) == (frames.PING, frames.ACK, b"abcdefgh")


def test_settings_are_acknowledged():
    (answer,) = Peer().say(asked(max_concurrent_streams=1)).heard()
    assert (answer.kind, answer.flags, answer.payload) == (frames.SETTINGS, frames.ACK, b"")


def test_streams_beyond_the_most_are_refused_and_others_answered():
    peer = Peer()
    peer.say(*(peer.headers(1 + 2 * at) for at in range(MAX_STREAMS)))
    peer.heard()
    late = 1 + 2 * MAX_STREAMS
    (refusal,) = peer.say(peer.call(late)).heard()
    assert (refusal.stream, refusal.code) == (late, Code.REFUSED_STREAM)
    peer.say(body(1, b"first", ends=True), peer.call(late + 2, b"next"))
    assert peer.answers() == {1: b"first", late + 2: b"next"}


def test_after_goaway_streams_on_their_way_are_taken_and_later_ones_passed_over():
    peer = Peer()
    peer.say(peer.headers(1))
    peer.heard()
    peer.connection.retire(at_once=False)
    peer.say(peer.call(3, b"on its way"))
    peer.connection.retire(at_once=True)
    peer.say(peer.call(5, b"late"), body(1, b"old", ends=True))
    heard = peer.heard()
    assert [int.from_bytes(each.payload[:4], "big") for each in heard if each.kind == frames.GOAWAY] == [2**31 - 1, 3]
    assert peer.answers(heard) == {1: b"old", 3: b"on its way"}
    assert all(each.stream != 5 for each in heard)


def test_a_reset_stream_is_lost_and_what_still_comes_for_it_dropped():
    peer = Peer(interpreter(SilentStream))
    peer.say(peer.headers(1), body(1))
    stream = peer.connection.streams[1]
    peer.say(reset(1))
    assert stream.gone
    assert not peer.connection.streams
    peer.say(body(1), body(1))
    assert [each.code for each in peer.heard()] == [Code.STREAM_CLOSED], "said once"


def test_a_lost_connection_loses_its_streams():
    peer = Peer(interpreter(SilentStream))
    peer.say(peer.headers(1), peer.headers(3))
    streams = list(peer.connection.streams.values())
    peer.connection.lost()
    assert all(each.gone for each in streams)
