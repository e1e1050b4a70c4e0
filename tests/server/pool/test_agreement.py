"""A replica's side: it publishes when it may, and waits for nothing that cannot come."""

import asyncio
from pathlib import Path

import pytest

from headrace.config import ModelConfig
from headrace.errors import LoadFailed
from headrace.models import ModelId
from model_repo.found import ModelScan, Scan
from model_repo.spec import VersionSpec
from server.pool import wanted
from server.pool.agreement import Agreement
from server.pool.channel import MAX_LINE, Verdict, Vote, Wanted


def spec(fingerprint="a", version=1):
    return VersionSpec(ModelId("m", version), Path("/m/1/model.onnx"), ModelConfig(), fingerprint, {})


class Replica:
    """An agreement, what it has sent, and the scans that it was given."""

    def __init__(self, directory):
        self.directory = directory
        self.sent = []
        self.scans = []
        self.agreement = Agreement(directory, self.sent.append)

    async def follow(self):
        async for scan in self.agreement.scans():
            self.scans.append(scan)

    async def want(self, *specs):
        wanted.write(self.directory, Scan({"m": ModelScan(specs)}))
        self.agreement.heard(Wanted())
        await turns()

    def answer(self, spec, reason=""):
        self.agreement.heard(Verdict(spec.id.name, spec.id.version, spec.fingerprint, reason))


async def turns():
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
def on(tmp_path):
    def run(scenario):
        async def main():
            replica = Replica(tmp_path)
            async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
                following = tasks.create_task(replica.follow())
                await scenario(replica, tasks)
                following.cancel()

        asyncio.run(main())

    return run


def test_what_is_wanted_comes_through_whole_again_after_every_change(on):
    async def scenario(replica, _):
        await replica.want(spec("a"))
        await replica.want(spec("a"), spec("b", 2))
        assert [list(scan.wanted.values()) for scan in replica.scans] == [[spec("a")], [spec("a"), spec("b", 2)]]

    on(scenario)


def test_a_load_waits_for_the_verdict(on):
    async def scenario(replica, tasks):
        await replica.want(spec())
        publishing = tasks.create_task(replica.agreement.publish(spec()))
        await turns()
        assert replica.sent == [Vote("m", 1, "a", "")]
        replica.answer(spec("other"))
        await turns()
        assert not publishing.done()
        replica.answer(spec())
        await publishing

    on(scenario)


def test_a_load_that_another_replica_refuses_fails_with_its_reason(on):
    async def scenario(replica, tasks):
        await replica.want(spec())
        tasks.create_task(asyncio.sleep(0)).add_done_callback(lambda _: replica.answer(spec(), "replica 1: no memory"))
        with pytest.raises(LoadFailed, match=r"m/1 is not published: replica 1: no memory"):
            await replica.agreement.publish(spec())

    on(scenario)


def test_a_load_that_is_wanted_no_more_is_not_waited_for(on):
    async def scenario(replica, tasks):
        await replica.want(spec("a"))
        waiting = tasks.create_task(failure(replica, spec("a")))
        await turns()
        await replica.want(spec("b"))
        assert "have changed meanwhile" in await waiting
        assert "have changed meanwhile" in await failure(replica, spec("a")), "and one that ends later is not begun"
        assert len(replica.sent) == 1

    on(scenario)


def test_nobody_waits_past_the_end(on):
    async def scenario(replica, tasks):
        await replica.want(spec())
        waiting = tasks.create_task(failure(replica, spec()))
        await turns()
        replica.agreement.end()
        assert "shutting down" in await waiting
        assert "shutting down" in await failure(replica, spec())

    on(scenario)


def test_a_long_reason_fits_the_channel(on):
    async def scenario(replica, _):
        replica.agreement.refuse(spec(), "x" * 2 * MAX_LINE)
        (vote,) = replica.sent
        assert 1000 < len(vote.reason) < MAX_LINE / 2

    on(scenario)


async def failure(replica, load):
    with pytest.raises(LoadFailed) as raised:
        await replica.agreement.publish(load)
    return str(raised.value)
