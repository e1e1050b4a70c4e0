"""Labels and shares over a manager whose loads end when told: no request that could be served is refused."""

import asyncio
from collections import Counter

import pytest
from model_repo_fakes import PuppetLoader, idle, running, want

from headrace.errors import LoadFailed, ModelNotFound, ModelNotReady
from model_repo.found import Problem
from model_repo.routing import Routing


def serving(manager, version, key="", request_id=""):
    """The version that answers a request for model m now."""
    handle = manager.acquire("m", version, key, request_id)
    handle.release()
    return handle.spec.id.version


def taken(manager, turns=1_000):
    """Version -> of how many requests in a hundred it got."""
    counts = Counter(serving(manager, "") for _ in range(turns))
    return {version: round(100 * count / turns) for version, count in counts.items()}


def wanting(manager, versions, labels=(), traffic=(), by_id=False):
    manager.want(want(versions), routing={"m": Routing(dict(labels), dict(traffic), by_id)})


def with_ready(versions, scenario):
    """Run `scenario(manager, loader)` with `versions` of m loaded; from then on loads end when told."""

    async def main():
        loader = PuppetLoader(automatic=True)
        async with running(loader) as manager:
            manager.want(want(versions))
            await manager.settled()
            loader.automatic = False
            await scenario(manager, loader)

    asyncio.run(main())


def test_labels_stand_for_versions_and_move_without_a_load():
    async def scenario(manager, loader):
        wanting(manager, "m/3 m/4", {"stable": 3, "canary": 4})
        assert (serving(manager, "stable"), serving(manager, "canary"), serving(manager, "")) == (3, 4, 4)
        assert manager.labels("m") == {"stable": 3, "canary": 4}
        assert (manager.ready_versions("m"), len(manager.servables())) == ([3, 4], 2)
        wanting(manager, "m/3 m/4", {"stable": 4})
        assert serving(manager, "stable") == 4
        with pytest.raises(ModelNotFound, match="model 'm' has no version 'canary'; there is 3, 4, stable"):
            manager.acquire("m", "canary")
        await manager.settled()
        assert loader.started == ["m/4a", "m/3a"]

    with_ready("m/3 m/4", scenario)


@pytest.mark.parametrize("goes_well", [True, False])
def test_a_label_stays_where_it_is_until_the_version_that_it_names_is_ready(goes_well):
    async def scenario(manager, loader):
        wanting(manager, "m/3", {"stable": 3})
        wanting(manager, "m/4", {"stable": 4})  # and 3 is not wanted any more
        await idle()
        assert serving(manager, "stable") == 3
        if goes_well:
            loader.finish("m/4a")
            await manager.settled()
            assert manager.ready_versions("m") == [4]
        else:
            loader.fail("m/4a", LoadFailed("no memory"))
            await manager.settled()
        assert serving(manager, "stable") == (4 if goes_well else 3)

    with_ready("m/3", scenario)


def test_the_version_that_stands_in_for_a_failed_one_is_kept_although_another_serves():
    async def scenario(manager, loader):
        wanting(manager, "m/3", {"stable": 3})
        wanting(manager, "m/4 m/5", {"stable": 4})
        await idle()
        loader.finish("m/5a")
        loader.fail("m/4a", LoadFailed("no memory"))
        await manager.settled()
        assert (serving(manager, "stable"), serving(manager, "")) == (3, 5)
        wanting(manager, "m/4 m/5", {"stable": 5})  # so 3 is of no use any more
        await manager.settled()
        assert manager.ready_versions("m") == [5]

    with_ready("m/3", scenario)


def test_a_label_without_any_ready_version_says_what_it_waits_for():
    async def scenario(manager, loader):
        wanting(manager, "m/3 m/4", {"canary": 4, "gone": 9})
        await idle()
        with pytest.raises(ModelNotReady, match="label 'canary' names version 4; version 4 LOADING"):
            manager.acquire("m", "canary")
        with pytest.raises(ModelNotReady, match="label 'gone' names version 9"):
            manager.acquire("m", "gone")
        loader.finish("m/4a")
        await manager.settled()
        assert serving(manager, "canary") == 4

    with_ready("m/3", scenario)


def test_labels_go_with_their_model():
    async def scenario(manager, loader):
        wanting(manager, "m/3", {"stable": 3})
        manager.want({}, [Problem("m", None, "not loaded")])
        await manager.settled()
        for version in ("stable", "3", ""):
            with pytest.raises(ModelNotReady, match="not loaded"):
                manager.acquire("m", version)
        assert manager.labels("m") == {}

    with_ready("m/3", scenario)


def test_a_label_follows_its_version_when_that_is_replaced_in_place():
    async def scenario(manager, loader):
        wanting(manager, "m/3", {"stable": 3})
        wanting(manager, "m/3b", {"stable": 3})
        await idle()
        assert manager.look("m", "stable").tag == "m/3a"
        loader.finish("m/3b")
        await manager.settled()
        assert manager.look("m", "stable").tag == "m/3b"

    with_ready("m/3", scenario)


def test_requests_without_a_version_are_split_and_those_with_one_are_not():
    async def scenario(manager, loader):
        wanting(manager, "m/3 m/4", {"stable": 3, "canary": 4}, {"canary": 20})
        assert taken(manager) == {3: 80, 4: 20}
        assert {serving(manager, "stable") for _ in range(20)} == {3}
        assert {serving(manager, "04") for _ in range(20)} == {4}
        assert not manager.splits("m", "4")
        assert manager.splits("m", "")
        wanting(manager, "m/3 m/4", {"stable": 3, "canary": 4})
        assert taken(manager) == {4: 100}

    with_ready("m/3 m/4", scenario)


def test_shares_of_versions_that_are_not_ready_go_to_the_others_until_they_are():
    async def scenario(manager, loader):
        wanting(manager, "m/3 m/4 m/5", {"stable": 3, "canary": 5}, {"canary": 20, "4": 30})
        await idle()
        assert taken(manager) == {3: 62, 4: 38}
        loader.finish("m/5a")
        await manager.settled()
        assert taken(manager) == {3: 50, 4: 30, 5: 20}
        wanting(manager, "m/3 m/4", {"stable": 3, "canary": 5}, {"canary": 20, "4": 30})
        await manager.settled()
        assert taken(manager) == {3: 62, 4: 38}

    with_ready("m/3 m/4", scenario)


def test_a_key_keeps_its_version_and_an_id_does_if_the_model_says_so():
    async def scenario(manager, loader):
        keys = [str(number) for number in range(100)]
        shares = {"stable": 3, "canary": 4}, {"canary": 50}
        wanting(manager, "m/3 m/4", *shares)
        first = [serving(manager, "", key) for key in keys]
        assert set(first) == {3, 4}
        assert [serving(manager, "", key, "an id that does not count") for key in keys] == first
        assert [serving(manager, "", "", key) for key in keys] != first
        wanting(manager, "m/3 m/4", *shares, by_id=True)
        assert [serving(manager, "", "", key) for key in keys] == first
        assert [serving(manager, "", key, "the key comes first") for key in keys] == first

    with_ready("m/3 m/4", scenario)


def test_whoever_only_looks_sees_the_highest_version_and_takes_no_turn():
    async def scenario(manager, loader):
        wanting(manager, "m/3 m/4", {"canary": 4}, {"canary": 20})
        turns = [serving(manager, "") for _ in range(50)]
        wanting(manager, "m/3 m/4")
        wanting(manager, "m/3 m/4", {"canary": 4}, {"canary": 20})
        again = []
        for _ in range(50):
            assert manager.look("m", "").tag == "m/4a"
            again.append(serving(manager, ""))
        assert again == turns

    with_ready("m/3 m/4", scenario)


def test_no_request_is_refused_whatever_the_labels_do_meanwhile():
    """stable goes 1, 2 ... 9, each version unwanted as soon as the next is named; every third load fails."""

    async def scenario(manager, loader):
        wanting(manager, "m/1", {"stable": 1}, {"stable": 60})
        for version in range(2, 10):
            wanting(manager, f"m/{version}", {"stable": version}, {"stable": 60})
            for step in range(2):
                await idle()
                assert serving(manager, "stable") == serving(manager, "", "key") == serving(manager, "")
                if step:
                    break
                if version % 3:
                    loader.finish(f"m/{version}a")
                else:
                    loader.fail(f"m/{version}a", LoadFailed("no memory"))
            assert serving(manager, "stable") == (version if version % 3 else version - 1)

    with_ready("m/1", scenario)
