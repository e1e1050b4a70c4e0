"""One HTTP connection: what order answers have, who is told what, and what happens to whoever leaves."""

import asyncio
import contextlib
import json

import pytest
from raw_http import chunked, request
from server_fakes import Front, Plane

from headrace import cell
from headrace.errors import ExecutorFailed

INFER = "/v2/models/echo/infer"


def document(*values, **fields):
    values = values or (1, 2)
    return {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [len(values) // 2, 2], "data": list(values)}]
    } | fields


GOOD = request(INFER, document())
ON_ASGI = chunked(INFER, document())
METADATA = request("/v2", method="GET")


@pytest.fixture
def on(tmp_path):
    """`on(scenario)` runs `scenario(front, client)` against a front end and one connection to it."""

    def run(scenario, **limits):
        async def main():
            counters = tmp_path / "counters"
            counters.mkdir()
            async with (
                asyncio.timeout(10),
                Plane(counters).running() as plane,
                Front(plane, tmp_path, **limits).listening() as front,
                front.client() as client,
            ):
                await scenario(front, client)
                plane.executor().gate.set()
                client.writer.transport.abort()
                await plane.until(lambda: plane.cell(cell.IN_FLIGHT) == plane.cell(cell.QUEUE_ROWS) == 0)

        asyncio.run(main())

    return run


def values(answer):
    assert answer.status == 200, answer
    return answer.document["outputs"][0]["data"]


# -- what is answered -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [GOOD, ON_ASGI], ids=["short cut", "ASGI"])
def test_answer_is_whole_and_the_connection_stays(on, data):
    async def scenario(front, client):
        for _ in range(3):
            client.send(data)
            answer = await client.answer()
            assert values(answer) == [1, 2]
            assert answer.headers == {
                "date": front.site.date.decode(),
                "content-type": "application/json",
                "content-length": str(len(answer.body)),
            }

    on(scenario)


def test_known_head_is_looked_up_and_answers_the_same(on):
    async def scenario(front, client):
        bodies = []
        for index in range(4):
            client.send(request(INFER, document(index, 2)))
            bodies.append(values(await client.answer()))
        assert bodies == [[0, 2], [1, 2], [2, 2], [3, 2]]
        assert len(front.site.heads) == 1

    on(scenario)


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("data", [GOOD, ON_ASGI], ids=["short cut", "ASGI"])
def test_request_cut_at_any_byte_is_put_together(on, data, known):
    async def scenario(front, client):
        connection = None
        for cut in range(1, len(data)):
            if known:
                client.send(GOOD)
                await client.answer()
            else:
                front.site.heads.clear()
            connection = connection or await front.connection()
            # Handed over by hand: through a socket, the pieces would now and then arrive as one.
            connection.data_received(data[:cut])
            connection.data_received(data[cut:])
            assert values(await client.answer()) == [1, 2], cut

    on(scenario)


def test_only_whole_heads_are_remembered(on):
    """What is looked up later must be the head of a plain request from its first byte to its empty line."""
    refused = request(INFER, b"{" * 40, content_type="text/csv")

    async def scenario(front, client):
        connection = await front.connection()
        for pieces in (
            (GOOD[:30], GOOD[30:]),  # "POS", the first bytes of any request, is no head
            (b"\r\n\r\n" + GOOD,),  # nor is the empty line before this one
            (refused[:-30], refused[-30:] + GOOD),  # nor is the head of the request before
            (b"GET /v2 HTTP/1.1\r\ncontent-length: 5\r\n\r\n", b"12345" + GOOD),
        ):
            for piece in pieces:
                connection.data_received(piece)
                await front.plane.until(lambda: connection.cycle is None or connection.cycle.response_complete)
        statuses = [(await client.answer()).status for _ in range(6)]
        assert sorted(statuses) == [200] * 5 + [415]
        head = GOOD[: GOOD.index(b"\r\n\r\n") + 4]
        assert set(front.site.heads) <= {head}
        connection.data_received(GOOD)
        assert values(await client.answer()) == [1, 2]
        assert set(front.site.heads) == {head}

    on(scenario)


def test_request_that_comes_byte_by_byte_is_put_together(on):
    async def scenario(front, client):
        connection = await front.connection()
        for data in (GOOD, ON_ASGI, GOOD):
            for at in range(len(data)):
                connection.data_received(data[at : at + 1])
            assert values(await client.answer()) == [1, 2]

    on(scenario)


@pytest.mark.parametrize("cut", [1, 40, 200, 350, 500])
def test_pipelined_requests_are_answered_in_order(on, cut):
    async def scenario(front, client):
        connection = await front.connection()
        data, expected = b"", []
        for index in range(8):
            each = (request, chunked)[index % 3 == 1](INFER, document(index, index))
            data += each + (METADATA if index == 4 else b"")
            expected += [[index, index]] + ([None] if index == 4 else [])
        for at in range(0, len(data), cut):
            connection.data_received(data[at : at + cut])
        for wanted in expected:
            answer = await client.answer()
            assert (values(answer) if wanted else answer.document["name"]) == (wanted or "headrace")

    on(scenario)


def test_request_behind_an_unanswered_one_waits_for_it(on):
    async def scenario(front, client):
        executor = front.plane.executor()
        executor.gate.clear()
        client.send(GOOD + METADATA + request(INFER, document(3, 4)) + METADATA)
        await executor.entered.wait()
        assert not client.reader._buffer
        executor.gate.set()
        assert values(await client.answer()) == [1, 2]
        assert (await client.answer()).document["name"] == "headrace"
        assert values(await client.answer()) == [3, 4]
        assert (await client.answer()).document["name"] == "headrace"

    on(scenario)


def test_requests_of_one_turn_run_as_one_batch(on):
    async def scenario(front, client):
        async with front.client() as other:
            await front.plane.until(lambda: len(front.site.state.connections) == 2)
            for connection in front.site.state.connections:
                connection.data_received(GOOD)
            assert values(await client.answer()) == values(await other.answer()) == [1, 2]
        assert front.plane.executor().runs == 1

    on(scenario)


@pytest.mark.parametrize("data", [GOOD, ON_ASGI], ids=["short cut", "ASGI"])
def test_bug_is_an_internal_error_that_tells_nothing(on, data, monkeypatch, caplog):
    async def scenario(front, client):
        client.send(data)
        answer = await client.answer()
        assert (answer.status, answer.error) == (500, "internal error (ZeroDivisionError)")
        monkeypatch.undo()
        client.send(data)
        assert values(await client.answer()) == [1, 2]
        assert front.plane.refused() == {"internal": 1}

    def broken(*_):
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr("server.rest.codec.decode", broken)
    on(scenario)
    assert "a secret" in caplog.text


@pytest.mark.parametrize("data", [GOOD, ON_ASGI], ids=["short cut", "ASGI"])
def test_failed_run_is_500_with_its_sentence(on, data):
    async def scenario(front, client):
        front.plane.executor().outcome = ExecutorFailed("out of memory")
        client.send(data)
        answer = await client.answer()
        assert (answer.status, answer.error) == (500, "out of memory")

    on(scenario)


@contextlib.asynccontextmanager
async def full(front):
    """A queue without room behind a batch that runs until the executor's gate is set, and who waits in it."""
    executor = front.plane.executor()
    executor.gate.clear()
    async with front.client() as first, front.client() as second:
        first.send(GOOD)
        await executor.entered.wait()
        second.send(request(INFER, document(*[0] * 32)))
        await front.plane.until(lambda: front.plane.cell(cell.QUEUE_ROWS) == 16)
        yield executor, second


@pytest.mark.parametrize("way", [request, chunked])
def test_full_queue_is_503_and_says_to_come_again(on, way):
    async def scenario(front, client):
        async with full(front) as (executor, second):
            client.send(way(INFER, document()))
            answer = await client.answer()
            assert answer.status == 503
            assert answer.headers["retry-after"] == "1"
            assert "max_queue_rows" in answer.error
            executor.gate.set()
            assert values(await second.answer()) == [0] * 32

    on(scenario)


@pytest.mark.parametrize("leaving", [False, True], ids=["serving", "leaving"])
def test_a_body_that_comes_after_its_refusal_is_dropped(on, leaving):
    """What the server says to a request whose body is not there yet must not be taken for the answer to the next."""
    head = json.dumps(document()).encode()
    data = request(INFER, head + bytes(5000), inference_header_content_length=len(head))

    async def scenario(front, client):
        async with full(front) as (executor, _):
            client.send(GOOD)
            assert (await client.answer()).status == 503
            for cut in (len(data) - 5000, len(data) - 1):
                client.send(data[:cut])
                assert "max_queue_rows" in (await client.answer()).error
                front.site.draining = leaving
                client.send(data[cut:])
                if leaving:
                    assert await client.closed()
                    break
                client.send(METADATA)
                assert (await client.answer()).document["name"] == "headrace"
            executor.gate.set()

    on(scenario)


@pytest.mark.parametrize("way", [request, chunked])
def test_timeout_is_504(on, way):
    async def scenario(front, client):
        front.plane.executor().gate.clear()
        client.send(way(INFER, document(parameters={"timeout": 1000})))
        answer = await client.answer()
        assert answer.status == 504
        assert "1 ms" in answer.error

    on(scenario)


def test_bug_behind_another_path_is_an_internal_error_and_logged(on, monkeypatch, caplog):
    def broken(*_):
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr("server.v2.server_metadata", broken)

    async def scenario(front, client):
        client.send(METADATA)
        answer = await client.answer()
        assert (answer.status, answer.error) == (500, "internal error (ZeroDivisionError)")
        async with front.client() as other:
            other.send(GOOD)
            assert values(await other.answer()) == [1, 2]

    on(scenario)
    assert "a secret" in caplog.text


# -- HTTP as it is spoken ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "closes"),
    [
        (request(INFER, document(), version="1.0"), True),
        (request("/v2", method="GET", version="1.0"), True),
        (request(INFER, document(), connection="close"), True),
        (chunked(INFER, document(), connection="close"), True),
        (request(INFER, document(), connection="keep-alive"), False),
        (request(INFER, document(), upgrade="h2c", connection="upgrade"), False),
        (request(INFER, document(), upgrade="websocket", connection="upgrade"), False),
        (request("/v2", method="GET", upgrade="websocket", connection="upgrade"), False),
        (request(INFER, document(), connection="Upgrade, HTTP2-Settings", upgrade="h2c", http2_settings="AAE"), False),
        (request(INFER, document(), connection="upgrade, close", upgrade="h2c"), True),
        (chunked(INFER, document(), connection="upgrade", upgrade="h2c"), False),
        (request("http://host" + INFER, document()), False),
        (request(INFER + "?a=b", document()), False),
        (request(INFER.replace("echo", "%65cho"), document()), False),
    ],
)
def test_whatever_is_said_in_the_head_is_answered(on, data, closes):
    async def scenario(_, client):
        client.send(data)
        answer = await client.answer()
        assert answer.status == 200
        assert (answer.headers.get("connection") == "close") == closes
        if closes:
            assert await client.closed()
        else:
            client.send(GOOD)
            assert values(await client.answer()) == [1, 2]

    on(scenario)


def test_upgrade_nobody_speaks_changes_nothing_for_the_requests_around_it(on):
    asking = request(INFER, document(3, 4), connection="upgrade", upgrade="h2c")

    async def scenario(front, client):
        for data in (GOOD + asking + METADATA, chunked(INFER, document()) + asking + METADATA):
            for cut in (20, 150, 200, 260, 290, 330, len(data)):
                connection = await front.connection()
                connection.data_received(data[:cut])
                if data[cut:]:
                    connection.data_received(data[cut:])
                assert values(await client.answer()) == [1, 2]
                assert values(await client.answer()) == [3, 4]
                assert (await client.answer()).document["name"] == "headrace"

    on(scenario)


def test_client_that_expects_100_gets_it_before_it_sends(on):
    async def scenario(_, client):
        data = request(INFER, document(), expect="100-continue")
        head, body = data.split(b"\r\n\r\n")
        client.send(head + b"\r\n\r\n")
        assert (await client.answer()).status == 100
        client.send(body)
        assert values(await client.answer()) == [1, 2]
        client.send(GOOD)
        assert values(await client.answer()) == [1, 2]

    on(scenario)


@pytest.mark.parametrize(
    "data",
    [
        request(INFER, content_length=10_001, expect="100-continue"),
        request("/nothing", content_length=5, expect="100-continue"),
        request(INFER, content_length=5, expect="100-continue", content_type="text/csv"),
    ],
    ids=["too large", "nowhere", "no JSON"],
)
def test_client_that_is_refused_instead_of_100_need_not_send_its_body(on, data):
    async def scenario(_, client):
        client.send(data)
        assert (await client.answer()).status in (413, 404, 415)
        # What comes next on this connection would be taken for the body: so there is nothing next.
        assert await client.closed()

    on(scenario)


def test_refused_body_is_passed_over_and_the_next_request_answered(on):
    async def scenario(_, client):
        client.send(request(INFER, bytes(50_000)))
        assert (await client.answer()).status == 413
        client.send(GOOD)
        assert values(await client.answer()) == [1, 2]

    on(scenario)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300),
        b"\0" * 100,
        b"garbage\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET /v2 HTTP/1.1\nhost: x\n\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\na b: c\r\n\r\n",
        b"GET / HTTP/1.1\r\na: \0\r\n\r\n",
        request(INFER, content_length="-1"),
        request(INFER, content_length="abc"),
        request(INFER, content_length="9" * 30),
        request(INFER, content_length="1, 2"),
        request(INFER, b"12", content_length=1, transfer_encoding="chunked"),
        request(INFER, b"zz\r\n", content_length=None, transfer_encoding="chunked"),
        request(INFER, b"5\r\nabc", content_length=None, transfer_encoding="chunked") + b"defgh",
    ],
    ids=range(17),
)
def test_what_is_no_request_is_refused_and_the_connection_closed(on, garbage):
    async def scenario(_, client):
        client.send(garbage)
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (400, "close")
        assert "HTTP/1.1" in answer.error
        assert await client.closed()

    on(scenario)


@pytest.mark.parametrize("first", [GOOD, ON_ASGI], ids=["short cut", "ASGI"])
@pytest.mark.parametrize("garbage", [b"garbage\r\n\r\n", request(INFER, content_length="x"), METADATA + b"\0\0"])
def test_good_request_before_garbage_is_answered_first(on, first, garbage):
    async def scenario(_, client):
        client.send(first + garbage)
        assert values(await client.answer()) == [1, 2]
        if garbage.startswith(METADATA):
            assert (await client.answer()).document["name"] == "headrace"
        assert (await client.answer()).status == 400
        assert await client.closed()

    on(scenario)


@pytest.mark.parametrize("behind", [b"", b"\x16\x03\x01 bytes for the other end"])
def test_who_takes_this_for_a_proxy_is_told(on, behind):
    async def scenario(_, client):
        client.send(GOOD + b"CONNECT host:443 HTTP/1.1\r\n\r\n" + behind)
        assert values(await client.answer()) == [1, 2]
        answer = await client.answer()
        assert answer.status == 405
        assert "CONNECT" in answer.error
        assert await client.closed()

    on(scenario)


@pytest.mark.parametrize("url", ["http://[", "http://a:99999999/", "http://@"])
def test_url_that_is_none_is_refused(on, url):
    async def scenario(_, client):
        client.send(GOOD + request(url, method="GET"))
        assert values(await client.answer()) == [1, 2]
        assert (await client.answer()).status == 400
        assert await client.closed()

    on(scenario)


def test_huge_url_is_refused(on):
    async def scenario(_, client):
        client.send(request("/" + "a" * 9000, method="GET"))
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (414, "close")
        assert "8192" in answer.error

    on(scenario)


@pytest.mark.parametrize("size", [1000, 70_000])
def test_head_without_end_is_refused(on, size):
    async def scenario(front, client):
        connection = await front.connection()
        connection.data_received(b"GET /v2 HTTP/1.1\r\n")
        for index in range(200_000 // size):
            if connection.transport.is_closing():
                break
            connection.data_received(b"a%d: %b\r\n" % (index, b"x" * size))
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (431, "close")
        assert await client.closed()

    on(scenario)


def test_huge_head_that_comes_at_once_is_refused(on):
    async def scenario(front, client):
        connection = await front.connection()
        connection.data_received(request("/v2", method="GET", a="x" * 200_000))
        assert (await client.answer()).status == 431

    on(scenario)


@pytest.mark.parametrize("way", [request, chunked])
@pytest.mark.parametrize("size", [10_000, 10_001])
def test_body_may_have_the_limit_and_not_a_byte_more(on, way, size):
    async def scenario(_, client):
        text = json.dumps(document())
        client.send(way(INFER, text.ljust(size).encode()))
        answer = await client.answer()
        if size == 10_000:
            assert values(answer) == [1, 2]
        else:
            assert answer.status == 413
            assert "10000" in answer.error

    on(scenario)


# -- whoever leaves ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [GOOD, ON_ASGI], ids=["short cut", "ASGI"])
def test_client_that_leaves_gives_its_place_in_the_queue_back(on, data):
    async def scenario(front, client):
        plane = front.plane
        plane.executor().gate.clear()
        async with front.client() as other:
            other.send(GOOD)
            await plane.executor().entered.wait()
            client.send(data)
            await plane.until(lambda: plane.cell(cell.QUEUE_ROWS) == 1)
            client.writer.transport.abort()
            await plane.until(lambda: plane.cell(cell.QUEUE_ROWS) == 0)
            assert plane.cell(cell.IN_FLIGHT) == 1
            plane.executor().gate.set()
            assert values(await other.answer()) == [1, 2]
        assert plane.servable().counters.failures() == {"cancelled": 1}
        await plane.until(lambda: front.lost == 2)

    on(scenario)


@pytest.mark.parametrize("first", [GOOD, ON_ASGI], ids=["short cut", "ASGI"])
def test_client_that_is_lost_with_requests_behind_its_first_loses_all(on, first, caplog):
    async def scenario(front, client):
        plane = front.plane
        plane.executor().gate.clear()
        client.send(first + GOOD + METADATA)
        await plane.executor().entered.wait()
        connection = await front.connection()
        connection.transport.abort()  # as when a write to it fails: it is not read from, so nothing else would tell
        await plane.until(lambda: front.lost == 1)
        await plane.until(lambda: plane.cell(cell.IN_FLIGHT) == 0)
        plane.executor().gate.set()
        assert plane.servable().counters.failures() == {"cancelled": 1}
        assert plane.executor().runs == 1

    on(scenario)
    assert "Exception in ASGI" not in caplog.text


@pytest.mark.parametrize("data", [GOOD, ON_ASGI], ids=["short cut", "ASGI"])
def test_client_that_leaves_in_the_middle_of_its_body_is_forgotten(on, data):
    async def scenario(front, client):
        client.send(data[:-30])
        await front.plane.until(lambda: any(each._receiving for each in front.site.state.connections))
        client.writer.transport.abort()
        await front.plane.until(lambda: front.lost == 1)
        async with front.client() as other:
            other.send(GOOD)
            assert values(await other.answer()) == [1, 2]

    on(scenario)


@pytest.mark.parametrize("data", [GOOD, ON_ASGI], ids=["short cut", "ASGI"])
def test_batch_mates_of_whoever_leaves_are_answered(on, data):
    async def scenario(front, client):
        executor = front.plane.executor()
        executor.gate.clear()
        async with front.client() as other:
            other.send(request(INFER, document(3, 4)))
            client.send(data)
            await front.plane.until(lambda: front.plane.cell(cell.IN_FLIGHT) == 2)
            client.writer.transport.abort()
            await front.plane.until(lambda: front.lost == 1)
            executor.gate.set()
            assert values(await other.answer()) == [3, 4]

    on(scenario)


# -- whoever is slow --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "start",
    [b"P", GOOD[:30], GOOD[:-1], ON_ASGI[:-1], request(INFER, b"{", content_length=1000)],
    ids=["a letter", "half a head", "all but a byte", "all but the last chunk", "a length that lies"],
)
def test_request_that_does_not_arrive_is_408(on, start):
    async def scenario(front, client):
        client.send(start)
        await front.plane.until(lambda: any(each._receiving for each in front.site.state.connections))
        front.pass_time(4.9)
        assert front.lost == 0
        front.pass_time(0.2)
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (408, "close")
        assert "5 s" in answer.error
        assert await client.closed()

    on(scenario)


def test_drip_of_bytes_does_not_extend_the_time(on):
    async def scenario(front, client):
        connection = await front.connection()
        for at in range(6):
            connection.data_received(GOOD[at : at + 1])
            front.pass_time(1.0)
        assert (await client.answer()).status == 408

    on(scenario)


def test_idle_connection_is_closed_after_its_time(on):
    async def scenario(front, client):
        client.send(GOOD)
        await client.answer()
        front.pass_time(49.0)
        client.send(GOOD)
        await client.answer()
        front.pass_time(49.0)
        assert front.lost == 0
        front.pass_time(2.0)
        assert await client.closed()

    on(scenario)


def test_connection_that_never_says_a_word_is_closed(on):
    async def scenario(front, client):
        await front.connection()
        front.pass_time(51.0)
        assert await client.closed()

    on(scenario)


@pytest.mark.parametrize("data", [GOOD, ON_ASGI], ids=["short cut", "ASGI"])
def test_slow_model_is_not_the_clients_fault(on, data):
    async def scenario(front, client):
        executor = front.plane.executor()
        executor.gate.clear()
        client.send(data)
        await executor.entered.wait()
        front.pass_time(1000.0)
        executor.gate.set()
        assert values(await client.answer()) == [1, 2]

    on(scenario)


@pytest.mark.parametrize("first", [GOOD, ON_ASGI], ids=["short cut", "ASGI"])
@pytest.mark.parametrize("start", [GOOD[:20], GOOD[:-1], ON_ASGI[:-1]])
def test_time_of_a_pipelined_request_begins_when_the_one_before_is_answered(on, first, start):
    async def scenario(front, client):
        executor = front.plane.executor()
        executor.gate.clear()
        client.send(first + start)
        await executor.entered.wait()
        front.pass_time(1000.0)
        executor.gate.set()
        assert values(await client.answer()) == [1, 2]
        front.pass_time(6.0)
        assert (await client.answer()).status == 408

    on(scenario)


def test_body_that_nobody_waits_for_is_not_answered_twice(on):
    async def scenario(front, client):
        client.send(request(INFER, b"{", content_length=20_000))
        assert (await client.answer()).status == 413
        front.pass_time(6.0)
        assert await client.closed(), "one request, one answer"

    on(scenario)


LONG = "a" * 90_000


async def answered_until_it_does_not_read(client, connection, way):
    """The client sends and sends, and reads nothing until the server has answers that it cannot get rid of."""
    body = {"inputs": [{"name": "x", "datatype": "BYTES", "shape": [1, 1], "data": [LONG]}]}
    data = way("/v2/models/text/infer", body)
    client.reader._transport.pause_reading()
    while not connection.flow.write_paused:
        client.send(data)
        await asyncio.sleep(0)


@pytest.mark.parametrize("way", [request, chunked])
def test_client_that_does_not_read_is_not_read_from(on, way):
    async def scenario(front, client):
        connection = await front.connection()
        await answered_until_it_does_not_read(client, connection, way)
        assert connection.flow.read_paused
        assert connection.transport.get_write_buffer_size() < 1 << 20
        client.reader._transport.resume_reading()
        assert values(await client.answer()) == [LONG]

    on(scenario, max_body_bytes=100_000)


@pytest.mark.parametrize("way", [request, chunked])
def test_client_that_never_reads_its_answers_is_given_up(on, way):
    async def scenario(front, client):
        await answered_until_it_does_not_read(client, await front.connection(), way)
        front.pass_time(1.0)
        front.pass_time(49.0)
        assert front.lost == 0
        front.pass_time(2.0)
        await front.plane.until(lambda: front.lost == 1)

    on(scenario, max_body_bytes=100_000)


@pytest.mark.parametrize("way", [request, chunked])
def test_client_that_reads_its_answers_slowly_is_not_given_up(on, way):
    async def scenario(front, client):
        connection = await front.connection()
        await answered_until_it_does_not_read(client, connection, way)
        for _ in range(5):
            front.pass_time(40.0)
            before = connection.transport.get_write_buffer_size()
            client.reader._transport.resume_reading()
            while connection.transport.get_write_buffer_size() == before:
                assert values(await client.answer()) == [LONG]
            client.reader._transport.pause_reading()
            await answered_until_it_does_not_read(client, connection, way)
        assert front.lost == 0

    on(scenario, max_body_bytes=100_000)


@pytest.mark.parametrize("way", [request, chunked])
def test_client_that_sends_faster_than_it_is_answered_takes_bounded_memory(on, way):
    async def scenario(front, client):
        executor = front.plane.executor()
        connection = await front.connection()
        count = 2500
        client.send(way(INFER, document()) * count)
        for _ in range(count):
            assert values(await client.answer()) == [1, 2]
            assert len(connection.pipeline) < 1500, "what one read brings, and no more"
        assert executor.runs <= count

    on(scenario)
