"""gRPC's mapping to HTTP/2: how calls begin and end, case by case, without a socket."""

import gzip

import pytest
from grpc_caller import LIMIT, STREAM, Caller, headers, message
from http2_peer import body, frame, reset, window_update
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import BadRequest, ExecutorFailed, QueueFull
from server.rpc.clients import Peer as Client
from server.rpc.framing import prefix
from server.rpc.http2 import frames
from server.rpc.http2.errors import Code
from server.rpc.http2.settings import ROOM


def refused(caller, stream=1):
    """(status code, sentence) of a call without a message."""
    fields, data = caller.outcome(stream)
    assert data == b""
    assert fields[b":status"] == b"200"
    assert fields[b"content-type"] == b"application/grpc"
    return int(fields[b"grpc-status"]), fields.get(b"grpc-message", b"").decode()


def test_a_call_is_answered_with_head_message_and_status():
    caller = Caller()
    caller.say(caller.call(1, message()))
    fields, data = caller.outcome()
    assert data == message()
    assert fields == {b":status": b"200", b"content-type": b"application/grpc", b"grpc-status": b"0"}
    assert not caller.connection.streams


@pytest.mark.parametrize("kind", [b"application/grpc", b"application/grpc+proto", b"application/grpc;charset=utf-8"])
def test_content_types_that_are_grpc(kind):
    caller = Caller()
    caller.say(caller.call(1, message(), headers(content_type=kind)))
    assert caller.outcome()[1] == message()


@pytest.mark.parametrize("kind", [None, b"application/json", b"application/grpc-web", b"application/grpc+json"])
def test_other_content_types_are_415(kind):
    caller = Caller()
    caller.say(caller.call(1, message(), headers(content_type=kind)))
    assert caller.outcome() == ({b":status": b"415"}, b"")
    caller.say(caller.call(3, message()))
    assert caller.outcome(3)[1] == message()


def test_other_methods_of_http_are_405():
    caller = Caller()
    caller.say(caller.headers(1, headers(method=b"GET"), ends=True))
    assert caller.outcome() == ({b":status": b"405"}, b"")


def test_a_method_that_is_not_there_is_unimplemented():
    caller = Caller()
    caller.say(caller.call(1, message(), headers(path=b"/service/Nothing")))
    assert refused(caller) == (12, "there is no method /service/Nothing")


@pytest.mark.parametrize(
    ("said", "seconds"),
    [(b"1S", 1), (b"250m", 0.25), (b"99999999u", 99.999999), (b"500n", 5e-7), (b"2M", 120), (b"3H", 10800)],
)
def test_timeouts_have_units(said, seconds):
    caller = Caller()
    caller.say(caller.headers(1, headers(path=b"/service/Wait", grpc_timeout=said)))
    assert caller.connection.streams[1].time_remaining() == pytest.approx(seconds, abs=0.2)


@pytest.mark.parametrize("said", [b"1", b"S", b"-1S", b"123456789S", b"1s", b"1.5S", b""])
def test_other_timeouts_are_refused(said):
    caller = Caller()
    caller.say(caller.call(1, message(), headers(grpc_timeout=said)))
    assert refused(caller)[0] == 13


def test_a_deadline_years_away_is_none():
    caller = Caller()
    caller.say(caller.headers(1, headers(path=b"/service/Wait", grpc_timeout=b"99999999H")))
    assert caller.connection.streams[1].time_remaining() is None


def test_a_packing_that_nobody_knows_is_refused_with_those_that_are():
    caller = Caller()
    caller.say(caller.call(1, message(), headers(grpc_encoding=b"snappy")))
    fields, _ = caller.outcome()
    assert (fields[b"grpc-status"], fields[b"grpc-accept-encoding"]) == (b"12", b"identity,gzip,deflate")


def test_packed_messages_are_unpacked_and_answers_are_plain():
    caller = Caller()
    packed = gzip.compress(b"hello" * 100)
    data = b"\1" + len(packed).to_bytes(4, "big") + packed
    caller.say(caller.call(1, data, headers(grpc_encoding=b"gzip")))
    assert caller.outcome()[1] == message(b"hello" * 100)


def test_headers_longer_than_what_clients_are_told_are_refused():
    caller = Caller()
    caller.say(caller.call(1, message(), headers(key=b"x" * 9000, other=b"y" * 7500)))
    code, sentence = refused(caller)
    assert (code, "at most 16384" in sentence) == (8, True)


# What goes wrong with messages -> (status code, part of the sentence).
BAD_MESSAGES = {
    "none": (b"", 13, "ended before its message"),
    "half": (message()[:-1], 13, "ended before its message"),
    "half a prefix": (b"\0\0", 13, "ended before its message"),
    "two": (message() * 2, 12, "several"),
    "packed without a word how": (b"\1\0\0\0\5hello", 13, "do not say how"),
    "a flag that nobody knows": (b"\x80\0\0\0\5hello", 13, "found 128"),
    "too large": (prefix(bytes(LIMIT + 1)), 8, f"at most {LIMIT}"),
}


@pytest.mark.parametrize(("data", "code", "part"), BAD_MESSAGES.values(), ids=BAD_MESSAGES)
@pytest.mark.parametrize("ends", [True, False], ids=["and ends", "and goes on"])
def test_bad_messages_are_refused_with_a_sentence(data, code, part, ends):
    caller = Caller()
    caller.say(caller.headers(1), body(1, data, ends=ends))
    if not ends and caller.connection.streams:  # it is wrong by its end only
        caller.say(body(1, b"", ends=True))
    found, sentence = refused(caller)
    assert (found, part in sentence) == (code, True), sentence
    assert not caller.connection.streams


def test_a_call_that_is_refused_before_it_has_ended_is_reset_without_blame():
    caller = Caller()
    caller.say(caller.headers(1), body(1, prefix(bytes(LIMIT + 1))))
    heard = caller.heard()
    assert [(each.kind, each.flags & 1) for each in heard] == [(frames.HEADERS, 1), (frames.RST_STREAM, 0)]
    assert heard[-1].code is Code.NO_ERROR
    caller.say(body(1, bytes(1000)), body(1, b"", ends=True))
    assert not caller.heard(), "what was on its way is dropped"


@pytest.mark.parametrize(("length", "data"), [(b"9", message()), (b"11", message())])
def test_a_body_of_another_length_than_its_headers_say_is_malformed(length, data):
    caller = Caller()
    caller.say(caller.call(1, data, headers(content_length=length)))
    assert caller.outcome() is Code.PROTOCOL_ERROR
    caller.say(caller.call(3, message(), headers(content_length=b"10")))
    assert caller.outcome(3)[1] == message()


@given(st.integers(0, 500), st.lists(st.integers(1, 300), min_size=1, max_size=6))
def test_a_message_is_whole_however_it_is_cut(size, cuts):
    caller = Caller()
    data, at = message(bytes(size)), 0
    caller.say(caller.headers(1))
    for cut in cuts:
        caller.say(body(1, data[at : at + cut]))
        at += cut
    caller.say(body(1, data[at:], ends=True))
    assert caller.outcome()[1] == data


def test_room_for_a_message_larger_than_a_window_is_made_at_once():
    caller = Caller(asks={4: 1 << 20})
    data = message(bytes(400_000))
    caller.say(window_update(0, 1 << 20), caller.headers(1), body(1, data[:100]))
    (update,) = caller.heard()
    assert (update.kind, update.stream) == (frames.WINDOW_UPDATE, 1)
    assert int.from_bytes(update.payload, "big") == len(data) - ROOM
    caller.say(*(body(1, data[at : at + 16_000]) for at in range(100, len(data), 16_000)), body(1, b"", ends=True))
    assert caller.outcome()[1] == data


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (BadRequest("100 % wrong: é\n"), b"3", b"100 %25 wrong: %C3%A9%0A"),
        (ExecutorFailed("x"), b"13", b"x"),
        (ValueError("a secret"), b"13", b"internal error: ValueError"),
    ],
)
def test_failures_have_a_code_and_an_escaped_sentence(error, code, sentence):
    caller = Caller()
    caller.say(caller.call(1, message(), headers(path=b"/service/Wait")))
    caller.calls[0].call.fail(error)
    fields, _ = caller.outcome()
    assert (fields[b"grpc-status"], fields[b"grpc-message"]) == (code, sentence)


def test_who_may_try_again_is_told_when():
    caller = Caller()
    caller.say(caller.call(1, message(), headers(path=b"/service/Wait")))
    caller.calls[0].call.fail(QueueFull("full", 2.5))
    fields, _ = caller.outcome()
    assert (fields[b"retry-after"], fields[b"headrace-retry-after-ms"]) == (b"3", b"2500")


def test_trailing_metadata_comes_after_the_answer():
    caller = Caller()
    caller.say(caller.call(1, message(), headers(path=b"/service/Wait")))
    caller.calls[0].call.answer(b"yes", (("server-timing", "all;dur=1"),))
    *_, last = heard = caller.heard()
    assert last.flags & frames.END_STREAM
    blocks = [dict(caller.decoder.decode(each.payload, raw=True)) for each in heard if each.kind == frames.HEADERS]
    assert blocks[1] == {b"grpc-status": b"0", b"server-timing": b"all;dur=1"}


def test_a_call_that_is_reset_is_cancelled_and_no_other():
    caller = Caller()
    wait = headers(path=b"/service/Wait")
    caller.say(caller.call(1, message(b"one"), wait), caller.call(3, message(b"two"), wait), reset(1))
    assert [(each.data, each.cancelled) for each in caller.calls] == [(b"one", True), (b"two", False)]
    caller.calls[1].call.answer(b"yes")
    assert caller.outcome(3)[1] == message(b"yes")


def test_calls_of_a_connection_that_is_lost_are_cancelled():
    caller = Caller()
    wait = headers(path=b"/service/Wait")
    caller.say(*(caller.call(1 + 2 * at, message(), wait) for at in range(5)))
    caller.connection.lost()
    assert all(each.cancelled for each in caller.calls)


# -- streams ----------------------------------------------------------------------------------------------------------


def test_a_stream_goes_both_ways_and_ends():
    caller = Caller()
    caller.say(caller.headers(1, STREAM), body(1, message(b"a") + message(b"b")[:3]))
    assert [each.payload for each in caller.heard() if each.kind == frames.DATA] == [message(b"a")]
    caller.say(body(1, message(b"b")[3:] + message(b"")), body(1, b"", ends=True))
    fields, data = caller.outcome()
    assert (fields[b"grpc-status"], data) == (b"0", message(b"b") + message(b""))
    assert caller.calls[0].over == "ended"


def test_a_stream_that_ends_within_a_message_fails_and_its_receiver_hears_it():
    caller = Caller()
    caller.say(caller.headers(1, STREAM), body(1, message()[:-1], ends=True))
    assert refused(caller)[0] == 13
    assert caller.calls[0].over == "cancelled"


def test_a_stream_without_messages_ends_well():
    caller = Caller()
    caller.say(caller.headers(1, STREAM, ends=True))
    assert caller.outcome()[0][b"grpc-status"] == b"0"


def test_the_window_of_a_stream_grows_by_what_is_taken_and_no_more():
    caller = Caller(asks={4: 1 << 20})
    caller.connection.outbox.window = 1 << 20
    caller.say(caller.headers(1, STREAM))
    stream, receiver = caller.connection.streams[1], caller.calls[0]
    sent = 0
    while stream.room > 1000:
        caller.say(body(1, message(bytes(500))))
        sent += 1
        if sent == 100:
            receiver.call.hold()
            left = stream.room
    assert stream.room < left, "it is held"
    assert len(receiver.heard) == 100
    receiver.call.release()
    assert len(receiver.heard) == sent
    assert stream.room > ROOM // 2
    assert all(each == bytes(500) for each in receiver.heard)


def test_a_held_stream_takes_messages_that_are_larger_than_its_window_one_by_one():
    caller = Caller(asks={4: 1 << 24})
    caller.connection.outbox.window = 1 << 24
    caller.say(caller.headers(1, STREAM))
    stream, receiver = caller.connection.streams[1], caller.calls[0]
    large = message(bytes(400_000))
    left = large * 5
    receiver.call.hold()

    def send():
        nonlocal left
        while left and stream.room and not caller.connection.over:
            size = min(stream.room, 16_000, len(left))
            caller.say(body(1, left[:size]))
            left = left[size:]

    send()
    assert len(left) > 2 * len(large), "one that is granted, and a window"
    receiver.call.release()
    send()
    assert not left
    assert len(receiver.heard) == 5
    assert not caller.connection.over


def test_a_receiver_is_told_when_what_waited_has_left():
    caller = Caller(asks={4: 4})
    caller.say(caller.headers(1, STREAM), body(1, message(b"abc")))
    receiver = caller.calls[0]
    assert receiver.heard == [b"abc"]
    caller.say(window_update(1, 4))
    assert receiver.heard == [b"abc", "resume"]


def test_a_stream_that_is_closed_while_its_answers_wait_ends_once_they_have_left():
    caller = Caller(asks={4: 4})
    caller.say(caller.headers(1, STREAM), body(1, message(b"abc"), ends=True))
    assert list(caller.connection.streams) == [1]
    caller.say(window_update(1, 100))
    fields, data = caller.outcome()
    assert (fields[b"grpc-status"], data) == (b"0", message(b"abc"))
    assert not caller.connection.streams


def test_a_stream_that_is_reset_or_breaks_the_rules_cancels_its_receiver():
    for said in (lambda c: reset(1), lambda c: body(1, b"\7\0\0\0\0"), lambda c: frame(frames.PING, 0, 1, bytes(8))):
        caller = Caller()
        caller.say(caller.headers(1, STREAM), said(caller))
        assert caller.calls[0].over == "cancelled"


def test_all_calls_in_one_piece_are_answered():
    caller = Caller()
    caller.say(*(caller.call(1 + 2 * at, message(b"%d" % at)) for at in range(200)))
    assert caller.answers() == {1 + 2 * at: message(b"%d" % at) for at in range(200)}


def test_calls_have_the_numbers_of_their_peer():
    caller = Caller()
    caller.connection = type("Known", (type(caller.connection),), {"__slots__": ("peer",)})(
        caller.connection._interpret, lambda: None, LIMIT
    )
    caller.connection.peer = Client()
    caller.say(frames.PREFACE, frames.frame(frames.SETTINGS, 0, 0))
    wait = headers(path=b"/service/Wait")
    caller.say(caller.call(1, message(), wait), caller.call(3, message(), wait))
    calls = [each.call for each in caller.calls]
    for call in calls:
        call.client = call.peer.take()
    numbers = [call.client for call in calls]
    calls[0].answer(b"")
    caller.say(reset(3))
    assert sorted(caller.connection.peer.free) == sorted(numbers), "both were given back"
