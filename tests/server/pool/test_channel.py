import asyncio
import logging
import socket

import pytest

from server.pool.channel import MAX_LINE, Boot, Channel, Drain, Draining, Failed, Ready

BOOT = Boot(index=1, replicas=2, generation=3, config='{"host": "::"}')


async def received(channel):
    return [message async for message in channel.messages()]


def test_messages_arrive_as_sent_and_the_end_of_the_stream_ends_them():
    async def scene():
        here, there = [await Channel.over(end) for end in socket.socketpair()]
        sent = [BOOT, Drain(), Ready(), Failed("no such\nfolder"), Draining()]
        for message in sent:
            here.send(message)
        here.close()
        assert await received(there) == sent
        there.close()

    asyncio.run(scene())


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b'{"type": "Rea', id="closed in the middle of a message"),
        pytest.param(b'{"type": "Gossip"}\n{"type": "Ready"}\n', id="unknown message"),
        pytest.param(b"x" * (2 * MAX_LINE), id="endless line"),
    ],
)
def test_peer_that_breaks_the_rules_counts_as_gone(sent, caplog):
    async def scene():
        ours, theirs = socket.socketpair()
        channel = await Channel.over(ours)
        theirs.setblocking(False)

        async def speak():
            await asyncio.get_running_loop().sock_sendall(theirs, sent)
            theirs.close()

        async with asyncio.timeout(1), asyncio.TaskGroup() as group:
            speaking = group.create_task(speak())
            assert await received(channel) == []
            speaking.cancel()
        theirs.close()
        channel.close()

    with caplog.at_level(logging.CRITICAL, "headrace.pool"):
        asyncio.run(scene())


def test_peer_that_does_not_read_is_cut_off():
    async def scene():
        ours, theirs = socket.socketpair()
        channel = await Channel.over(ours)
        for _ in range(10):
            channel.send(Failed("x" * (MAX_LINE // 2)))
        await channel.flush()
        theirs.close()

    asyncio.run(scene())


def test_speaking_to_a_peer_that_is_gone_does_no_harm():
    async def scene():
        here, there = [await Channel.over(end) for end in socket.socketpair()]
        there.close()
        assert await received(here) == []
        for _ in range(10):
            here.send(Drain())
        await here.flush()
        here.close()

    asyncio.run(scene())
