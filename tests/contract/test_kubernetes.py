"""What the platform asks of an API server beside jobs: ConfigMaps, the scale of Deployments, Canaries, and watches of them."""

import asyncio
from contextlib import aclosing

import pytest

from tests.contract.clusters import Place
from tests.kubernetes.store import BY_KIND, Object
from tests.twins.serving import TwinServing
from tools.errors import Conflict, PermanentError
from tools.kubernetes.config_maps import ConfigMaps
from tools.kubernetes.deployments import Deployments
from tools.kubernetes.errors import AlreadyExists, Expired, NotFound
from tools.kubernetes.kinds import CANARY, CONFIG_MAP
from tools.kubernetes.watching import Change, _events, changes
from tools.serving.port import Capacity
from tools.serving.replicas import ReplicaServing, Settings

LIMIT_S = 15.0


async def test_configuration_is_changed_on_the_version_that_was_read(place: Place) -> None:
    maps = ConfigMaps(place.api)
    await place.add_config_map("gateway", **{"routes.json": "{}", "other": "stays"})
    before = await maps.read(place.name("gateway"))
    change = {"routes.json": '{"a": 1}'}
    after = await maps.change(before.name, change, expected_version=before.version, key="first")
    assert after.data == {"routes.json": '{"a": 1}', "other": "stays"}
    assert await maps.change(before.name, change, expected_version=before.version, key="first") == after
    with pytest.raises(Conflict):
        await maps.change(before.name, change, expected_version=before.version, key="second")
    with pytest.raises(Conflict):
        await maps.change(before.name, {"routes.json": "{}"}, expected_version=before.version, key="first")
    gone = await maps.change(before.name, {"other": None}, expected_version=after.version, key="third")
    assert gone.data == {"routes.json": '{"a": 1}'}
    with pytest.raises(PermanentError, match="not found"):
        await maps.read(place.name("none"))
    with pytest.raises(AlreadyExists):
        await place.add_config_map("gateway")


async def test_a_deployment_is_scaled_from_the_number_that_was_seen(place: Place) -> None:
    await place.add_deployment("gateway", 2)
    deployments, name = Deployments(place.api, most=4), place.name("gateway")
    assert (await deployments.scale(name, 3, expected=2)).wanted == 3
    assert (await deployments.scale(name, 3, expected=2)).wanted == 3
    with pytest.raises(Conflict, match="has 3"):
        await deployments.scale(name, 4, expected=2)
    with pytest.raises(PermanentError, match="replicas"):
        await deployments.scale(name, 5, expected=3)
    with pytest.raises(NotFound):
        await deployments.replicas(place.name("none"))


async def test_a_status_that_moves_in_between_does_not_stand_in_the_way_of_a_scale(place: Place) -> None:
    """On a real cluster its controller does it by itself."""
    await place.add_deployment("gateway", 1)
    name, left = place.name("gateway"), [2]
    if (cluster := place.played) is not None:

        def move(method: str, plural: str, of: str | None) -> None:
            if (method, plural) == ("PATCH", "deployments") and left[0]:
                left[0] -= 1

                def ready(item: Object) -> Object:
                    item["metadata"].setdefault("annotations", {})["somebody/else"] = str(left[0])
                    return item

                cluster.store.update(BY_KIND["Deployment"], "oppen", str(of), ready)

        cluster.server.interfere = move
    for before, after in ((1, 2), (2, 3), (3, 1)):
        assert (await Deployments(place.api, most=4).scale(name, after, expected=before)).wanted == after


async def scaled(place: Place) -> ReplicaServing:
    inner = TwinServing()
    await inner.set_weights("flights", {"1": 100}, expected_generation=0, key="a")
    await place.add_config_map("scaling")
    await place.add_deployment("flights", 1)
    return ReplicaServing(inner, place.api, Settings(deployment=place.name("{model}"), record=place.name("scaling"), most=4))


@pytest.mark.parametrize("reached", [1, 2, 3])
async def test_a_scale_that_broke_off_between_its_notes_is_done_once_or_not_at_all(place: Place, reached: int) -> None:
    """Noted and not done, done and not noted so, or changed by somebody else meanwhile."""
    serving = await scaled(place)
    maps, name = ConfigMaps(place.api), place.name("flights")
    record = await maps.read(place.name("scaling"))
    noted = '[{"key": "k", "before": 1, "after": 2}]'
    await maps.change(record.name, {name: noted}, expected_version=record.version, key="k")
    if reached > 1:
        await Deployments(place.api, most=4).scale(name, reached, expected=1)
    if reached == 3:
        with pytest.raises(Conflict, match="has 3"):
            await serving.scale("flights", 2, expected_workers=1, key="k")
    else:
        assert (await serving.scale("flights", 2, expected_workers=1, key="k")).workers == 2
        # Somebody takes it back: the key has acted.
        await Deployments(place.api, most=4).scale(name, 1, expected=2)
        assert (await serving.scale("flights", 2, expected_workers=1, key="k")).workers == 1


async def test_two_who_scale_at_once_are_one_and_a_conflict(place: Place) -> None:
    serving = await scaled(place)
    found = await asyncio.gather(
        *(serving.scale("flights", to, expected_workers=1, key=str(to)) for to in (2, 3)), return_exceptions=True
    )
    (refused,) = [each for each in found if isinstance(each, BaseException)]
    (done,) = [each for each in found if isinstance(each, Capacity)]
    assert isinstance(refused, Conflict)
    assert (await serving.capacity("flights")).workers == done.workers
    assert (await serving.scale("flights", 4, expected_workers=done.workers, key="later")).workers == 4


async def test_a_model_whose_name_is_none_of_a_deployment_is_told(place: Place) -> None:
    serving = await scaled(place)
    with pytest.raises(PermanentError, match="no name of a Deployment"):
        await serving.scale("Late Flights", 2, expected_workers=1, key="k")


async def test_a_canary_is_changed_on_the_version_that_was_read(place: Place) -> None:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": place.name("flights")}
    spec = {"targetRef": target, "service": {"port": 8080}, "analysis": {"interval": "1m", "threshold": 2, "stepWeights": [10]}}
    try:
        made = await place.add(CANARY, "flights", spec=spec)
    except NotFound:
        pytest.skip("Flagger is not installed there")
    change = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "spec": {"analysis": {"threshold": 3}}}
    name = place.name("flights")
    moved = await place.api.patch(CANARY, name, change)
    assert (moved["spec"]["analysis"]["threshold"], moved["spec"]["analysis"]["stepWeights"]) == (3, [10])
    with pytest.raises(Conflict):
        await place.api.patch(CANARY, name, {**change, "spec": {"analysis": {"threshold": 4}}})
    with pytest.raises(AlreadyExists):
        await place.add(CANARY, "flights", spec=spec)
    with pytest.raises(PermanentError):
        await place.api.patch(CANARY, name, {"spec": {"analysis": {"webhooks": [{"url": "http://x/"}]}}})


async def _told(place: Place, count: int) -> list[Change]:
    found: list[Change] = []
    async with asyncio.timeout(LIMIT_S), aclosing(changes(place.api, CONFIG_MAP, fields=_only(place))) as news:
        async for change in news:
            found.append(change)
            if len(found) == count:
                break
    return found


def _only(place: Place) -> str:
    return f"metadata.name={place.name('watched')}"


async def test_a_watch_tells_what_was_there_and_what_happens(place: Place) -> None:
    await place.add_config_map("watched", a="1")
    watching = asyncio.create_task(_told(place, 3))
    maps, name = ConfigMaps(place.api), place.name("watched")
    record = await maps.read(name)
    while not watching.done():
        # Until it is noticed: a change before the watch is on is no change, but the state.
        record = await maps.change(name, {"a": record.version}, expected_version=record.version, key=record.version)
        await asyncio.sleep(0.05)
    assert [each.type for each in await watching] == ["ADDED", "MODIFIED", "MODIFIED"]


async def test_a_version_that_the_server_has_forgotten_is_told_apart(place: Place) -> None:
    await place.add_config_map("watched", a="1")
    start = "1"
    if place.played is not None:
        _, start = await place.api.list(CONFIG_MAP)
        await place.add_config_map("other")
        place.played.store.forget()
    try:
        async with aclosing(_events(place.api, CONFIG_MAP, None, None, start)) as events:
            told = [event["type"] async for event in events]
    except Expired:
        return
    if place.played is None:
        pytest.skip("that server has forgotten nothing yet")
    pytest.fail(f"it was told {told}")


async def test_a_watch_outlives_a_restart_and_tells_what_happened_meanwhile(place: Place) -> None:
    if (cluster := place.played) is None:
        pytest.skip("a real server is not restarted for a test")
    await place.add_config_map("watched", a="1")
    watching = asyncio.create_task(_told(place, 2))
    async with asyncio.timeout(LIMIT_S):
        while cluster.server.watching < 1:
            await asyncio.sleep(0.02)
    await asyncio.to_thread(cluster.server.stop)

    def changed(item: Object) -> Object:
        item["data"] = {"a": "2"}
        return item

    cluster.store.update(BY_KIND["ConfigMap"], "oppen", place.name("watched"), changed)
    cluster.store.forget()
    cluster.server.start()
    first, second = await watching
    assert (first.type, second.type, second.object["data"]) == ("ADDED", "MODIFIED", {"a": "2"})
