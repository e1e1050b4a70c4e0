import asyncio
import dataclasses
import logging

import pytest
from model_repo_fakes import PuppetLoader, idle, running, want
from virtual_time import run_virtual, turns

from headrace.config import ModelConfig, SafeReload
from headrace.errors import LoadFailed, ModelNotFound, ModelNotReady
from headrace.models import ModelId
from model_repo.actions import next_action
from model_repo.found import ASLEEP, NOT_LOADED, Problem
from model_repo.handle import Handle
from model_repo.index import IndexRow
from model_repo.manager import Manager
from model_repo.states import Lifecycle


def ready(manager):
    return [servable.tag for _, servable in manager.servables()]


def serving(manager, name, version):
    """What a request would be served by now."""
    handle = manager.acquire(name, version)
    handle.release()
    return handle.servable.tag


def shown(manager, name=None):
    return [f"{row.name}/{row.version} {row.state}" for row in manager.index(name)]


def test_a_wanted_version_is_loaded_and_found():
    async def main():
        loader = PuppetLoader()
        async with running(loader) as manager:
            manager.want(want("m/1"))
            assert shown(manager) == ["m/1 LOADING"]
            await idle()
            with pytest.raises(ModelNotReady, match="model 'm' is not ready: version 1 LOADING"):
                manager.acquire("m", "")
            loader.finish("m/1a")
            await manager.settled()
            assert shown(manager) == ["m/1 READY"]
            assert manager.ready_versions("m") == [1]
            for version in ("", "1", "01", "000000000000000001"):
                handle = manager.acquire("m", version)
                assert handle.servable is loader.made["m/1a"]
                handle.release()

    asyncio.run(main())


def test_no_version_means_the_highest_ready_one():
    async def main():
        loader = PuppetLoader()
        async with running(loader) as manager:
            manager.want(want("m/2 m/9 m/10"))
            await idle()
            assert loader.started == ["m/10a", "m/9a", "m/2a"]
            for version, highest in ((2, 2), (10, 10), (9, 10)):
                loader.finish(f"m/{version}a")
                await idle()
                assert serving(manager, "m", "") == f"m/{highest}a"
            assert manager.ready_versions("m") == [2, 9, 10]
            assert serving(manager, "m", "2") == "m/2a"

    asyncio.run(main())


def test_a_new_version_is_ready_before_the_old_one_leaves():
    async def main():
        loader = PuppetLoader()
        async with running(loader) as manager:
            manager.want(want("m/1"))
            await idle()
            loader.finish("m/1a")
            await manager.settled()
            manager.want(want("m/2"))
            await idle()
            assert shown(manager) == ["m/1 READY", "m/2 LOADING"]
            assert serving(manager, "m", "") == "m/1a"
            handle = manager.acquire("m", "1")
            loader.finish("m/2a")
            await idle()
            assert shown(manager) == ["m/1 UNLOADING", "m/2 READY"]
            assert serving(manager, "m", "") == "m/2a"
            with pytest.raises(ModelNotReady, match="version 1 UNLOADING"):
                manager.acquire("m", "1")
            handle.release()
            await manager.settled()
            assert shown(manager) == ["m/2 READY"]

    asyncio.run(main())


def test_unload_waits_for_the_last_handle():
    async def main():
        loader = PuppetLoader(automatic=True)
        async with running(loader) as manager:
            manager.want(want("m/1"))
            await manager.settled()
            first, second = manager.acquire("m", "1"), manager.acquire("m", "")
            assert first is second, "a claim makes no object"
            manager.want({})
            await idle()
            settled = asyncio.ensure_future(manager.settled())
            first.release()
            await idle()
            assert second.servable.closed == 0
            assert not settled.done()
            assert shown(manager) == ["m/1 UNLOADING"]
            servable = second.servable
            second.release()
            await settled
            assert servable.closed == 1
            assert shown(manager) == []
            assert not hasattr(second, "servable"), "nothing keeps the model in memory"

    asyncio.run(main())


def test_reload_replaces_without_a_gap_and_without_mixing():
    """Requests all the time, while the files change ten times: each one is served, and the old servable closes last."""

    async def main():
        loader = PuppetLoader(automatic=True)
        async with running(loader) as manager:
            manager.want(want("m/1"))
            await manager.settled()
            served, stop = [], False

            async def client():
                while not stop:
                    handle = manager.acquire("m", "1")
                    servable = handle.servable
                    await asyncio.sleep(0)
                    assert servable.closed == 0
                    served.append(servable.spec.fingerprint)
                    handle.release()

            async with asyncio.TaskGroup() as group:
                for _ in range(3):
                    group.create_task(client())
                for fingerprint in "bcdefghijk":
                    await idle()
                    manager.want(want(f"m/1{fingerprint}"))
                    await manager.settled()
                stop = True
            assert served == sorted(served)
            assert set(served) >= set("bcdefghij")
            assert [tag for tag, one in loader.made.items() if not one.closed] == ["m/1k"]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("error", "reason"),
    [(LoadFailed("no such operator"), "no such operator"), (ValueError("5 < 7"), "ValueError: 5 < 7")],
)
def test_failed_reload_leaves_the_old_files_serving_and_is_not_tried_again(error, reason):
    async def main():
        loader = PuppetLoader(automatic=True)
        loader.failing["m/1b"] = error
        async with running(loader) as manager:
            manager.want(want("m/1"))
            await manager.settled()
            for _ in range(3):
                manager.want(want("m/1b"))
                await manager.settled()
            assert loader.started == ["m/1a", "m/1b"]
            assert serving(manager, "m", "1") == "m/1a"
            assert manager.index() == [IndexRow("m", "1", "READY", reason)]

    asyncio.run(main())


def test_failed_new_version_leaves_the_old_version_serving():
    async def main():
        loader = PuppetLoader(automatic=True)
        loader.failing["m/2a"] = LoadFailed("bad weights")
        async with running(loader) as manager:
            manager.want(want("m/1"))
            await manager.settled()
            manager.want(want("m/2"))
            await manager.settled()
            assert serving(manager, "m", "") == "m/1a"
            assert manager.index() == [
                IndexRow("m", "1", "READY", ""),
                IndexRow("m", "2", "UNAVAILABLE", "bad weights"),
            ]
            with pytest.raises(ModelNotReady, match=r"version 2 UNAVAILABLE \(bad weights\)"):
                manager.acquire("m", "2")
            manager.want(want("m/2b"))
            await manager.settled()
            assert ready(manager) == ["m/2b"]

    asyncio.run(main())


def test_a_problem_is_logged_once_for_as_long_as_it_lasts(caplog):
    typo, gone = Problem("c", None, "c/config.yaml: unknown key 'x'"), Problem("d", 2, "no model file")

    async def main():
        async with running(PuppetLoader()) as manager:
            manager.want({}, [typo, Problem("e", None, NOT_LOADED)])
            manager.want({}, [typo, gone])
            manager.want({}, [gone])
            manager.want({}, [typo, gone])

    asyncio.run(main())
    assert [record.getMessage() for record in caplog.records] == [
        "c: c/config.yaml: unknown key 'x'",
        "d/2: no model file",
        "c: c/config.yaml: unknown key 'x'",
    ]
    assert {record.levelname for record in caplog.records} == {"WARNING"}


def test_a_broken_model_does_not_stop_others():
    async def main():
        loader = PuppetLoader(automatic=True)
        loader.failing["a/1a"] = RuntimeError("boom")
        async with running(loader) as manager:
            manager.want(want("a/1 b/1"), [Problem("c", None, "c/config.yaml: unknown key 'x'")])
            await manager.settled()
            assert ready(manager) == ["b/1a"]
            assert manager.index() == [
                IndexRow("a", "1", "UNAVAILABLE", "RuntimeError: boom"),
                IndexRow("b", "1", "READY", ""),
                IndexRow("c", "", "UNAVAILABLE", "c/config.yaml: unknown key 'x'"),
            ]
            with pytest.raises(ModelNotReady, match="unknown key 'x'"):
                manager.acquire("c", "1")

    asyncio.run(main())


def test_a_load_that_is_cancelled_from_within_is_a_failed_load():
    async def main():
        loader = PuppetLoader()
        async with running(loader) as manager:
            manager.want(want("m/1"))
            await idle()
            loader.fail("m/1a", asyncio.CancelledError())
            await manager.settled()
            assert manager.index() == [IndexRow("m", "1", "UNAVAILABLE", "the load was cancelled")]

    asyncio.run(main())


def test_all_loads_are_begun_and_what_leaves_does_not_wait_for_them():
    async def main():
        loader = PuppetLoader(automatic=True)
        async with running(loader) as manager:
            manager.want(want("z/1"))
            await manager.settled()
            loader.automatic = False
            manager.want(want("a/1 b/1 c/1"))
            await idle()
            assert loader.started == ["z/1a", "a/1a", "b/1a", "c/1a"]
            assert shown(manager) == ["a/1 LOADING", "b/1 LOADING", "c/1 LOADING"]
            await manager.settled("z")
            manager.want(want("b/1"))  # the others are loading and are dropped when that is done
            for tag in ("a/1a", "b/1a", "c/1a"):
                loader.finish(tag)
            await manager.settled()
            assert ready(manager) == ["b/1a"]
            assert {tag: one.closed for tag, one in loader.made.items()} == {
                "z/1a": 1, "a/1a": 1, "b/1a": 0, "c/1a": 1,
            }  # fmt: skip

    asyncio.run(main())


def test_a_load_that_nobody_wants_any_more_is_never_served():
    async def main():
        loader = PuppetLoader()
        async with running(loader) as manager:
            manager.want(want("m/1a"))
            await idle()
            manager.want(want("m/1b"))
            await idle()
            assert loader.started == ["m/1a"], "one load of an id at a time"
            loader.finish("m/1a")
            await idle()
            assert loader.made["m/1a"].closed == 1
            assert manager.ready_versions("m") == []
            loader.finish("m/1b")
            await manager.settled()
            assert ready(manager) == ["m/1b"]

    asyncio.run(main())


def test_loaded_does_not_wait_for_the_handles_on_what_leaves():
    async def main():
        async with running(PuppetLoader(automatic=True)) as manager:
            manager.want(want("m/1"))
            await manager.loaded("m")
            handle = manager.acquire("m", "")
            manager.want(want("m/1b"))
            await manager.loaded("m")
            assert serving(manager, "m", "") == "m/1b"
            assert handle.servable.closed == 0

    asyncio.run(main())


def test_wanting_again_what_is_leaving_loads_it_again():
    async def main():
        async with running(PuppetLoader(automatic=True)) as manager:
            manager.want(want("m/1"))
            await manager.settled()
            old = manager.acquire("m", "")
            manager.want({})
            await idle()
            manager.want(want("m/1"))
            await manager.loaded()
            new = manager.acquire("m", "")
            assert new.servable is not old.servable
            assert shown(manager) == ["m/1 READY"]
            old.release()
            await manager.settled()
            assert new.servable.closed == 0

    asyncio.run(main())


@pytest.mark.parametrize(
    ("name", "version", "message"),
    [
        ("nobody", "", "model 'nobody' is not found"),
        ("x" * 9999, "1", f"model '{'x' * 100}' is not found"),
        ("m", "3", "model 'm' has no version 3; there is 1, 2"),
        ("m", "0", "model 'm' has no version 0; there is 1, 2"),
        ("m", "-1", "model 'm' has no version '-1'; there is 1, 2"),
        ("m", "1.0", "model 'm' has no version '1.0'; there is 1, 2"),
        ("m", " 1", "model 'm' has no version ' 1'; there is 1, 2"),
        ("m", "²", "model 'm' has no version '²'; there is 1, 2"),
        ("m", "latest", "model 'm' has no version 'latest'; there is 1, 2"),
        ("m", "9" * 5000, f"model 'm' has no version '{'9' * 100}'; there is 1, 2"),
    ],
)
def test_what_is_not_there_is_not_found_and_says_what_is(name, version, message):
    async def main():
        async with running(PuppetLoader(automatic=True)) as manager:
            manager.want(want("m/1 m/2"))
            await manager.settled()
            with pytest.raises(ModelNotFound) as caught:
                manager.acquire(name, version)
            assert str(caught.value) == message

    asyncio.run(main())


def test_states_are_told_in_the_order_that_prevents_races(monkeypatch):
    """READY is told after requests find the version, QUIESCING before they stop finding it."""
    told = []

    async def main():
        async with running(PuppetLoader(automatic=True)) as manager:
            route = Manager._route

            def spy(self, name, *joining):
                (joined,) = joining or self._instances.of(name)
                told.append(("before routing", joined.life.state.name))
                route(self, name, *joining)
                told.append(("after routing", joined.life.state.name))

            monkeypatch.setattr(Manager, "_route", spy)
            manager.want(want("m/1"))
            await manager.settled()
            manager.want({})
            await manager.settled()

    asyncio.run(main())
    assert told == [
        ("before routing", "LOADING"),
        ("after routing", "LOADING"),
        ("before routing", "QUIESCING"),
        ("after routing", "QUIESCING"),
    ]


def test_close_unloads_everything_after_its_handles_and_ends_the_loop():
    async def main():
        loader = PuppetLoader(automatic=True)
        loader.failing["f/1a"] = LoadFailed("broken")
        manager = Manager(loader)
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            loop = group.create_task(manager.run())
            manager.want(want("m/1 n/1 f/1"))
            await manager.settled()
            loader.automatic = False
            manager.want(want("m/1 n/1 f/1 late/1"))
            await idle()
            handle = manager.acquire("m", "1")
            closing = group.create_task(manager.close())
            await idle()
            assert (loader.made["m/1a"].closed, loader.made["n/1a"].closed) == (0, 1)
            manager.want(want("m/1"))  # too late
            with pytest.raises(ModelNotReady):
                manager.acquire("m", "1")
            handle.release()
            await idle()
            assert not closing.done(), "a load is under way, and what it makes must be closed"
            loader.finish("late/1a")
            await closing
            await loop
        assert all(one.closed == 1 for one in loader.made.values())
        assert manager.index() == []

    asyncio.run(main())


def test_close_with_only_failures_or_nothing_ends_at_once():
    async def main(wanted):
        loader = PuppetLoader()
        loader.failing["f/1a"] = LoadFailed("broken")
        manager = Manager(loader)
        await manager.close() if wanted is None else manager.want(wanted)
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            group.create_task(manager.run())
            await manager.settled()
            await manager.close()

    for wanted in (None, {}, want("f/1")):
        asyncio.run(main(wanted))


def test_a_load_that_fails_because_nobody_wants_it_any_more_is_no_news(caplog):
    async def main():
        loader = PuppetLoader()
        async with running(loader) as manager:
            for text in ("m/1", "m/1b"):
                manager.want(want(text))
                await idle()
            for tag in ("m/1a", "m/1b"):
                loader.fail(tag, LoadFailed(f"{tag} is no model"))
                await idle()

    asyncio.run(main())
    assert [record.getMessage() for record in caplog.records] == ["m/1 failed to load: m/1b is no model"]


def test_a_model_may_come_while_it_sleeps_or_loads_and_whoever_waits_hears_of_every_change():
    async def main():
        loader = PuppetLoader()
        async with running(loader) as manager:
            seen = []

            async def follow():
                while True:
                    await manager.progressed()
                    seen.append(manager.may_come("m"))

            following = asyncio.create_task(follow())
            assert not manager.may_come("m")
            manager.want({}, [Problem("m", None, ASLEEP), Problem("n", None, "broken")])
            await idle()
            assert not manager.may_come("n")
            manager.want(want("m/1"))
            assert manager.may_come("m")
            await idle()
            loader.finish("m/1a")
            await idle()
            following.cancel()
            assert seen == [True, True, False]

    asyncio.run(main())


def test_a_servable_that_fails_to_close_is_gone_all_the_same(caplog):
    async def main():
        loader = PuppetLoader(automatic=True)
        async with running(loader) as manager:
            manager.want(want("m/1"))
            await manager.settled()
            loader.made["m/1a"].close_error = RuntimeError("stuck")
            manager.want({})
            await manager.settled()
            manager.want(want("m/1"))
            await manager.settled()
            assert ready(manager) == ["m/1a"]

    with caplog.at_level(logging.ERROR):
        asyncio.run(main())
    assert "m/1 failed to close" in caplog.text


def test_a_claim_released_twice_is_a_bug():
    async def main():
        async with running(PuppetLoader(automatic=True)) as manager:
            manager.want(want("m/1"))
            await manager.settled()
            handle: Handle = manager.acquire("m", "")
            handle.release()
            with pytest.raises(AssertionError, match="m/1 released more often than acquired"):
                handle.release()

    asyncio.run(main())


class CountingLifecycle(Lifecycle):
    reads = 0

    @property
    def state(self):
        CountingLifecycle.reads += 1
        return self._state

    @state.setter
    def state(self, to):
        self._state = to


def test_loading_many_models_is_work_for_each_and_not_for_each_pair(monkeypatch):
    """While someone waits for all of them, and each change wakes whoever waits."""
    count, asked = 300, []
    monkeypatch.setattr("model_repo.manager.next_action", lambda *given: asked.append(given) or next_action(*given))
    monkeypatch.setattr("model_repo.handle.Lifecycle", CountingLifecycle)
    monkeypatch.setattr(CountingLifecycle, "reads", 0)

    async def main():
        loader = PuppetLoader()
        async with running(loader) as manager:
            manager.want(want(" ".join(f"m{number:03d}/1" for number in range(count))))
            await idle()
            waiting = [asyncio.ensure_future(wait()) for wait in (manager.loaded, manager.settled)]
            for tag in list(loader.started):
                await idle()
                loader.finish(tag)
            await asyncio.gather(*waiting)
            assert len(ready(manager)) == count

    asyncio.run(main())
    assert len(asked) <= 3 * count
    assert max(len(instances) for _, instances, *_ in asked) == 1
    assert CountingLifecycle.reads <= 40 * count


def watched(text):
    return {
        id: dataclasses.replace(one, config=ModelConfig(safe_reload=SafeReload(watch_s=1)))
        for id, one in want(text).items()
    }


def test_a_replacement_on_trial_is_taken_back_and_the_old_one_serves_again():
    async def main():
        loader = PuppetLoader(automatic=True)
        async with running(loader) as manager:
            manager.want(want("m/1"))
            await manager.settled()
            manager.want(watched("m/1b"))
            await manager.loaded()
            handle = manager.acquire("m", "")
            assert handle.servable.tag == "m/1b"
            manager.withdraw(ModelId("m", 1), "b", "it fails")
            assert ready(manager) == ["m/1a"]
            assert manager.index() == [IndexRow("m", "1", "READY", "it fails")]
            await manager.settled()
            assert loader.made["m/1b"].closed == 0  # a request still holds it
            handle.release()
            await turns()
            assert (loader.made["m/1b"].closed, loader.made["m/1a"].closed) == (1, 0)
            manager.want(watched("m/1c"))
            await manager.settled()
            assert ready(manager) == ["m/1c"]

    asyncio.run(main())


def test_after_the_trial_the_old_one_leaves_and_cannot_come_back():
    async def main():
        loader = PuppetLoader(automatic=True)
        async with running(loader) as manager:
            manager.want(want("m/1"))
            await manager.settled()
            manager.want(watched("m/1b"))
            await manager.settled()
            assert loader.made["m/1a"].closed == 0
            await asyncio.sleep(2.5)
            await manager.settled()
            assert loader.made["m/1a"].closed == 1
            manager.withdraw(ModelId("m", 1), "b", "it fails")
            assert ready(manager) == ["m/1b"]  # better than nothing

    run_virtual(main())
